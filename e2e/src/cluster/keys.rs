//! The cluster's own certificate authority, the certificates it signs, and the administrator's credentials.

use super::command::{command, output};
use super::error::{ClusterError, failed};
use super::place::{API_SERVICE, NODE, Place};

/// Elliptic curve keys, made in milliseconds. $1: what the API server's certificate is for.
const MAKE: &str = r#"
curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $curve -keyout ca.key -out ca.crt -subj /CN=slipstream-test -days 30
signed() { # NAME SUBJECT [EXTENSIONS]
  openssl req $curve -keyout "$1.key" -out "$1.csr" -subj "$2"
  printf '%s' "${3:-}" >"$1.extensions"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 30 -extfile "$1.extensions"
}
signed api /CN=kube-apiserver "subjectAltName=$1"
signed api-client /O=system:masters/CN=kube-apiserver
openssl ecparam -name prime256v1 -genkey -noout -out accounts.key
openssl ec -in accounts.key -pubout -out accounts.pub
openssl rand -hex 16
"#;

/// Makes the keys and the kubeconfig.
pub(super) async fn make(place: &Place) -> Result<(), ClusterError> {
    let names = format!(
        "IP:127.0.0.1,IP:{NODE},IP:{API_SERVICE},DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    );
    let mut openssl = command("sh");
    openssl
        .args(["-euc", MAKE, "sh", &names])
        .current_dir(place.keys());
    let printed = output(&mut openssl).await?;
    let token = printed.trim();
    write(
        &place.keys().join("tokens.csv"),
        &format!("{token},admin,admin,\"system:masters\"\n"),
    )?;
    write(&place.kubeconfig(), &kubeconfig(place, token))
}

fn kubeconfig(place: &Place, token: &str) -> String {
    let authority = place.text("keys/ca.crt");
    format!(
        r#"apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "https://127.0.0.1:6443", certificate-authority: "{authority}"}}}}]
users: [{{name: admin, user: {{token: "{token}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
current-context: test
"#
    )
}

fn write(path: &std::path::Path, text: &str) -> Result<(), ClusterError> {
    std::fs::write(path, text).map_err(failed(format!("write {}", path.display())))
}
