//! A dependency's rpath does not reach our binaries, so the path of the graph engine's library is set here.

fn main() {
    println!("cargo:rerun-if-env-changed=LBUG_LIBRARY_DIR");
    if let Some(dir) = std::env::var_os("LBUG_LIBRARY_DIR") {
        let dir = std::path::Path::new(&dir)
            .canonicalize()
            .unwrap_or_else(|_| dir.clone().into());
        // $ORIGIN/../lib is where the image keeps it.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir.display());
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    }
}
