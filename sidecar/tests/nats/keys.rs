//! An authority, and keys that it signed, made by `openssl` for one test.

use std::path::Path;
use std::process::Command;

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// Writes `ca.crt`, `tls.crt` and `tls.key`, good for the server at 127.0.0.1 and for its clients, into `directory`.
pub(crate) fn make(directory: &Path) {
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    openssl(
        directory,
        &format!("req -x509 {NEW_KEY} -keyout ca.key -out ca.crt -subj /CN=authority -days 2"),
    );
    openssl(
        directory,
        &format!("req {NEW_KEY} -keyout tls.key -out request -subj /CN=nats"),
    );
    openssl(
        directory,
        "x509 -req -in request -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out tls.crt -days 2",
    );
}

fn openssl(directory: &Path, arguments: &str) {
    let made = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(directory)
        .output();
    let made = made.expect("these tests need openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
