//! The `slipstream` program as a writer and as a replica of one graph, in processes of their own.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::waiting::within;

/// A running role. Dropping it kills it.
pub(crate) struct Node {
    child: Child,
    pub(crate) url: String,
}

impl Node {
    /// Starts `role` under `name` with more environment; its files are below `directory`.
    pub(crate) fn start(role: &str, name: &str, directory: &Path, environment: &[(&str, &str)]) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let log = std::fs::File::create(directory.join(format!("{name}.log"))).expect("a log file");
        let called = if role == "writer" { "--holder" } else { "--id" };
        let child = Command::new(env!("CARGO_BIN_EXE_slipstream"))
            .arg(role)
            .args(["--listen", &address, called, name, "--exit-with-parent"])
            .arg("--config")
            .arg(directory.join("config.yaml"))
            .arg("--data-dir")
            .arg(directory.join(name))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("slipstream starts");
        Self {
            child,
            url: format!("http://{address}"),
        }
    }

    /// The JSON at `path`; `None` while nothing usable answers.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.ok()?;
        answer.json().await.ok()
    }

    /// Waits until `/v1/status` is as it should be.
    pub(crate) async fn status_until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        within(what, async {
            loop {
                if let Some(status) = self.get("/v1/status").await.filter(|status| condition(status)) {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Asks it to stop, as Kubernetes does, and waits until it has.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("it runs");
        within("the process to end", async {
            loop {
                if let Some(status) = self.child.try_wait().expect("a process") {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
