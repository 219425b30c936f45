//! Sets the soname, which programs look for at run time.

fn main() {
    // Until 1.0 every minor version may break the interface.
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let minor: Vec<_> = version.split('.').take(2).collect();
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libframelane.so.{}", minor.join("."));
    println!("cargo:rerun-if-changed=build.rs");
}
