//! The `framelane` command: live video frames through shared memory, from a terminal.
//!
//! `commands` has a folder for each command. Shared code is in this folder. Results are written to standard
//! output, notes, progress and errors to standard error.
#![forbid(unsafe_code)]

mod arguments;
mod cli;
mod commands;
mod delivery;
mod describe;
mod drain;
mod failure;
mod global;
mod latency;
mod line_limit;
mod link_options;
mod link_report;
mod parse;
mod reporter;
mod signals;
mod table;
mod tally;
mod transport;

use std::process::ExitCode;

use signals::Stop;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    arguments::hide(&arguments);
    let cli = match cli::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return cli::usage(&error, &arguments),
    };
    if cli.command.has_keys() || arguments::have_secrets(&arguments) {
        arguments::forbid_core_dumps();
    }
    framelane_net::register_url_schemes();
    let stop = match Stop::install(cli.command.grace()) {
        Ok(stop) => stop,
        Err(error) => return failure::report(&error, cli.global.json),
    };
    let result = cli.command.run(&cli.global, &stop);
    if let Some(code) = stop.exit_code() {
        // An operation that the signal ended early is not an error.
        return ExitCode::from(code);
    }
    match result {
        Ok(code) => code,
        Err(failure) => failure::report(&failure, cli.global.json),
    }
}
