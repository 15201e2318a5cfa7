//! `slipstream status`: where every node stands.

use std::time::Duration;

use clap::Args;
use reqwest::Client;
use serde_json::{Value, json};

use super::error::{CliError, with_causes};
use super::members::{Member, Silence, gather, status_table};
use super::output::{Output, pretty, print};
use super::server::Server;
use super::{DEFAULT_PORT, DEFAULT_WRITER};

/// How long one node may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// So many ports in a row without a listener are the end of the replicas: one alone may be a replica that is just restarted.
const REFUSED_IN_A_ROW: usize = 2;

/// Arguments of `slipstream status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// A node to ask; may be given several times [default: the writer at 127.0.0.1:7700 and the replicas on the ports after it]
    #[arg(long, value_name = "URL")]
    pub server: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Prints one line per node.
///
/// # Errors
/// When no node answers at all.
pub async fn run(args: StatusArgs) -> Result<(), CliError> {
    let members = find(&args.server).await?;
    match args.output {
        Output::Table => print(&status_table(&members).to_string()),
        Output::Json => print(&pretty(&members.iter().map(as_json).collect::<Vec<_>>())),
    }
    Ok(())
}

/// The nodes at `servers`, or those that `slipstream local` runs, and what each says about itself.
///
/// # Errors
/// When no node answers at all.
pub(super) async fn find(servers: &[String]) -> Result<Vec<Member>, CliError> {
    let client = Client::builder()
        .no_proxy()
        .build()
        .map_err(|error| CliError::Argument(with_causes(&error)))?;
    let members = if servers.is_empty() {
        local_members(&client).await
    } else {
        named(&client, servers).await?
    };
    if members
        .iter()
        .all(|member| member.answer == Err(Silence::Refused))
    {
        let asked: Vec<&str> = members.iter().map(|member| member.address.as_str()).collect();
        return Err(CliError::Unreachable {
            address: asked.join(", "),
            cause: "connection refused".to_owned(),
            advice: "start the graph with `slipstream local -f graph.yaml`, or name its nodes with --server"
                .to_owned(),
        });
    }
    Ok(members)
}

async fn named(client: &Client, addresses: &[String]) -> Result<Vec<Member>, CliError> {
    let mut nodes = Vec::new();
    for address in addresses {
        let address = Server::new(address, "--server")?.address;
        nodes.push((String::new(), address));
    }
    let mut members = gather(client, nodes, TIMEOUT).await;
    for member in &mut members {
        member.name = member
            .answer
            .as_ref()
            .map_or_else(|_| "?".to_owned(), |answer| answer.role.clone());
    }
    Ok(members)
}

/// The writer and the replicas that `slipstream local` runs.
async fn local_members(client: &Client) -> Vec<Member> {
    let mut members = gather(
        client,
        vec![("writer".to_owned(), DEFAULT_WRITER.to_owned())],
        TIMEOUT,
    )
    .await;
    let mut refused = 0;
    for (number, port) in (1..).zip(DEFAULT_PORT + 1..) {
        let node = (format!("replica-{number}"), format!("http://127.0.0.1:{port}"));
        let found = gather(client, vec![node], TIMEOUT).await;
        let is_refused = found.iter().all(|member| member.answer == Err(Silence::Refused));
        refused = if is_refused { refused + 1 } else { 0 };
        members.extend(found);
        if refused == REFUSED_IN_A_ROW {
            break;
        }
    }
    members.truncate(members.len() - refused);
    members
}

fn as_json(member: &Member) -> Value {
    match &member.answer {
        Ok(answer) => json!({"node": member.name, "address": member.address, "status": answer.raw}),
        Err(Silence::Refused) => {
            json!({"node": member.name, "address": member.address, "error": "connection refused"})
        }
        Err(Silence::Other(why)) => json!({"node": member.name, "address": member.address, "error": why}),
    }
}
