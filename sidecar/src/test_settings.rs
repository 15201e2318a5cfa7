//! Settings that no resource has, set by process tests, so that rare steps come often: `SLIPSTREAM_TEST_SETTINGS` is
//! `<name>=<number>[,…]`, names as in [`Settings`], times in milliseconds. Compiled in with the feature `failpoints` only.

use std::time::Duration;

use crate::settings::Settings;

/// Changes `settings` as the environment says.
///
/// # Panics
/// On a value that makes no sense: a test that does not get its settings must not pass.
pub(crate) fn apply(settings: &mut Settings) {
    if let Ok(text) = std::env::var("SLIPSTREAM_TEST_SETTINGS") {
        for entry in text.split(',').filter(|entry| !entry.is_empty()) {
            let parsed = entry
                .split_once('=')
                .and_then(|(name, value)| Some((name, value.parse::<u64>().ok()?)));
            let known = parsed.is_some_and(|(name, value)| set(settings, name, value));
            assert!(
                known,
                "SLIPSTREAM_TEST_SETTINGS: found {entry:?}, expected <setting>=<number>"
            );
        }
    }
}

/// `false`: there is no such setting.
fn set(settings: &mut Settings, name: &str, value: u64) -> bool {
    match name {
        "checkpoint_commits" => settings.checkpoint_commits = value,
        "coalesce" => settings.coalesce = value as usize,
        "outgrown_from_bytes" => settings.limits.outgrown_from_bytes = value,
        "heartbeat_ms" => settings.heartbeat = Duration::from_millis(value),
        "lease_ttl_ms" => settings.lease_ttl = Duration::from_millis(value),
        "deferral_min_rows" => settings.deferral.min_rows = value,
        "deferral_share" => settings.deferral.share = value,
        "deferral_quiet_ms" => settings.deferral.quiet = Duration::from_millis(value),
        "snapshot_part_bytes" => settings.snapshots.part_bytes = value as usize,
        "snapshot_duty_ttl_ms" => settings.snapshots.duty_ttl = Duration::from_millis(value),
        "snapshot_leftover_age_ms" => settings.snapshots.leftover_age = Duration::from_millis(value),
        "snapshot_look_ms" => settings.snapshots.look = Duration::from_millis(value),
        "snapshot_back_off_ms" => settings.snapshots.back_off = Duration::from_millis(value),
        "cleaning_min_age_ms" => settings.optimizer.cleaning_min_age = Duration::from_millis(value),
        "idempotency_commits" => settings.idempotency_commits = value,
        "vector_min_rows" => settings.optimizer.vector_min_rows = value,
        "auto_look_ms" => settings.optimizer.auto_look = Duration::from_millis(value),
        _ => return false,
    }
    true
}
