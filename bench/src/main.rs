//! framelane and its peers, measured in turn. `README.md` describes how to run it.
//!
//! `framelane-bench [handoff] [free-running] [copy] [--json FILE]`: runs the named parts, or all of them.

mod copy;
mod handoff;
mod peer;
mod peers;
mod reader;
mod report;
mod scenario;
mod stamp;

use scenario::Scenarios;

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "reader") {
        return reader::main(&args[1..]);
    }
    let json = args.iter().position(|arg| arg == "--json").map(|at| {
        args.remove(at);
        args.remove(at)
    });
    let known = ["handoff", "free-running", "copy"];
    if let Some(unknown) = args.iter().find(|arg| !known.contains(&arg.as_str())) {
        eprintln!("expected some of {known:?} and --json FILE, found {unknown:?}");
        std::process::exit(2);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    let scenarios = Scenarios::load();
    let mut rows = Vec::new();
    if wanted("handoff") {
        rows.extend(handoff::paced(&scenarios));
    }
    if wanted("free-running") {
        rows.extend(handoff::one_core(&scenarios));
        rows.extend(handoff::free_running(&scenarios));
    }
    if wanted("copy") {
        rows.extend(copy::copy(&scenarios));
    }
    let rows = serde_json::to_string_pretty(&rows).expect("rows");
    match json {
        Some(path) => std::fs::write(path, rows).expect("the file for the figures"),
        None => println!("{rows}"),
    }
}
