//! The operator comes with its own issue; see README.md in this folder.

fn main() {
    eprintln!("slipstream-operator: not built yet; use `slipstream local` (see operator/README.md)");
    std::process::exit(1);
}
