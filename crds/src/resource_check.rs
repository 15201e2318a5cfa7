//! The check of a resource as a whole, and of a change of one.
//!
//! Owns: every rule of the spec outside the schema, for where there is no API server, and for what CEL cannot say.
//! Does not own: the schema's own rules (`schema_check`, `schema_change`).

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use crate::{
    field_error::SchemaErrors,
    pod_template_check, quantity,
    resource::{MAX_REPLICAS, ReplicatedGraphDB, ReplicatedGraphDBSpec},
    schema_change::SchemaChange,
};

/// Longest `metadata.name`: the names of pods and their labels are made from it.
const MAX_RESOURCE_NAME_LENGTH: usize = 40;

impl ReplicatedGraphDB {
    /// Checks the whole resource.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn check(&self) -> Result<(), SchemaErrors> {
        let mut errors = SchemaErrors::default();
        check_name(&mut errors, self.metadata.name.as_deref().unwrap_or_default());
        if self.spec.replicas > MAX_REPLICAS {
            let found = self.spec.replicas;
            errors.push(
                "spec.replicas",
                format!("found {found}, expected at most {MAX_REPLICAS}"),
            );
        }
        check_addresses(&mut errors, &self.spec);
        if self.spec.events.poll_interval.is_zero() {
            errors.push(
                "spec.events.pollInterval",
                "found 0s, expected a time longer than zero",
            );
        }
        if let Err(schema_errors) = self.spec.schema.check() {
            errors.0.extend(schema_errors.0);
        }
        self.spec.snapshots.check(&mut errors);
        self.spec.optimizer.check(&mut errors);
        self.spec.scrub.check(&mut errors);
        check_resources(&mut errors, "spec.writer.resources", &self.spec.writer.resources);
        check_size(
            &mut errors,
            "spec.writer.storage.size",
            &self.spec.writer.storage.size,
        );
        check_resources(
            &mut errors,
            "spec.replica.resources",
            &self.spec.replica.resources,
        );
        check_size(
            &mut errors,
            "spec.replica.cache.size",
            &self.spec.replica.cache.size,
        );
        for (path, template, volume_is_claimed) in [
            ("spec.writer.podTemplate", &self.spec.writer.pod_template, true),
            ("spec.replica.podTemplate", &self.spec.replica.pod_template, false),
        ] {
            pod_template_check::check(&mut errors, path, template.as_ref(), volume_is_claimed);
        }
        if self.spec.writer.queue_transactions == Some(0) {
            errors.push("spec.writer.queueTransactions", "found 0, expected 1 or more");
        }
        errors.into_result()
    }

    /// What `newer` adds to this graph's schema.
    ///
    /// # Errors
    /// Every field of `newer` that is wrong; or else every immutable field it changes.
    pub fn check_change(&self, newer: &Self) -> Result<SchemaChange, SchemaErrors> {
        newer.check()?;
        let mut errors = SchemaErrors::default();
        let (before, after) = (&self.spec.storage.uri, &newer.spec.storage.uri);
        if before != after {
            errors.push(
                "spec.storage.uri",
                format!("changed from `{before}` to `{after}`; it is immutable"),
            );
        }
        match self.spec.schema.check_change(&newer.spec.schema) {
            Ok(change) => errors.into_result().map(|()| change),
            Err(schema_errors) => {
                errors.0.extend(schema_errors.0);
                Err(errors)
            }
        }
    }
}

fn check_name(errors: &mut SchemaErrors, name: &str) {
    let letter_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let well_formed = name.len() <= MAX_RESOURCE_NAME_LENGTH
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| letter_or_digit(byte) || byte == b'-')
        && !name.ends_with('-');
    if !well_formed {
        errors.push(
            "metadata.name",
            format!(
                "`{name}` is not a name; expected a lower-case letter, then letters, digits or `-`, \
                 {MAX_RESOURCE_NAME_LENGTH} at most"
            ),
        );
    }
}

fn check_addresses(errors: &mut SchemaErrors, spec: &ReplicatedGraphDBSpec) {
    let uri = &spec.storage.uri;
    let bucket = uri
        .strip_prefix("s3://")
        .map(|rest| rest.split('/').next().unwrap_or_default());
    if !uri.starts_with("file:///") && bucket.is_none_or(str::is_empty) {
        errors.push(
            "spec.storage.uri",
            format!("`{uri}` is not a root; expected `s3://bucket/prefix` or `file:///path`"),
        );
    }
    if let Some(endpoint) = &spec.storage.endpoint
        && !has_scheme(endpoint, &["http://", "https://"])
    {
        errors.push(
            "spec.storage.endpoint",
            format!("`{endpoint}` is not an address; expected `http://…` or `https://…`"),
        );
    }
    let Some(nats) = &spec.events.nats else { return };
    if !has_scheme(&nats.url, &["nats://", "tls://"]) {
        errors.push(
            "spec.events.nats.url",
            format!(
                "`{}` is not an address; expected `nats://host:port` or `tls://host:port`",
                nats.url
            ),
        );
    }
    if let Some(subject) = &nats.subject {
        let is_token = |token: &str| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        if !subject.split('.').all(is_token) {
            errors.push(
                "spec.events.nats.subject",
                format!("`{subject}` is not a subject; expected words of letters, digits, `_` or `-`, joined by dots"),
            );
        }
    }
}

/// Whether `address` starts with one of `schemes` and has something after it.
fn has_scheme(address: &str, schemes: &[&str]) -> bool {
    schemes
        .iter()
        .any(|scheme| address.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

fn check_size(errors: &mut SchemaErrors, field: &str, size: &Quantity) {
    match quantity::bytes(size) {
        Ok(0) => errors.push(
            field,
            format!("`{}` is nothing; expected a size like 10Gi", size.0),
        ),
        Ok(_) => {}
        Err(error) => errors.push(field, error.to_string()),
    }
}

fn check_resources(errors: &mut SchemaErrors, path: &str, resources: &ResourceRequirements) {
    for (kind, quantities) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (name, amount) in quantities.iter().flatten() {
            if let Err(error) = quantity::nanos(amount) {
                errors.push(format!("{path}.{kind}.{name}"), error.to_string());
            }
        }
    }
}
