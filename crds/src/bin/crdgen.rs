//! Prints the CustomResourceDefinition as YAML.
//!
//! `cargo run -p slipstream-crds --bin crdgen > charts/slipstream/templates/crd-replicatedgraphdb.yaml`

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", crds::crd_yaml()?);
    Ok(())
}
