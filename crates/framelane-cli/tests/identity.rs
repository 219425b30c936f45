//! `framelane identity`: keys, certificates, and clients that may connect.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use framelane_net::security::{AccessList, Identity, Role, Token};
use serde_json::Value;
use support::{command_in, json_error};

/// A separate configuration.
struct Config(tempfile::TempDir);

impl Config {
    fn new() -> Self {
        Config(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("config")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = command_in(self.0.path(), &format!("identity {line}"));
        command.env("FRAMELANE_CONFIG", self.path()).stdin(Stdio::null());
        command
    }

    /// The output of `framelane identity LINE` prints; it must end well.
    fn text(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.text(&format!("{line} --json"))).unwrap()
    }

    /// The kind and the whole text of the error that it ends with.
    fn error(&self, line: &str) -> (String, String) {
        let output = self.command(&format!("{line} --json")).output().unwrap();
        assert!(!output.status.success(), "{line}");
        let error = json_error(&output);
        assert!(!error["hint"].as_str().unwrap().is_empty());
        (error["kind"].as_str().unwrap().to_owned(), error.to_string())
    }

    fn clients(&self) -> AccessList {
        AccessList::load(&self.path().join("clients")).unwrap()
    }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn server_identity_prints_what_clients_need() {
    let config = Config::new();
    let text = config.text("server --name cam.example --name 192.0.2.1 --days 100");
    let made = Identity::from_directory(&config.path(), Role::Server).unwrap();
    assert_eq!(made.names(), ["cam.example", "192.0.2.1"]);
    assert!(
        text.contains(&format!("tls://cam.example:7420/CHANNEL?fingerprint={}", made.fingerprint())),
        "{text}"
    );
    assert!(text.contains(&made.validity().not_after()), "{text}");
    assert_eq!((mode(config.path()), mode(config.path().join("server.key"))), (0o700, 0o600));
    let key = fs::read_to_string(config.path().join("server.key")).unwrap();
    assert!(!text.contains(key.lines().nth(1).unwrap()));
}

#[test]
fn without_a_name_a_server_is_for_this_machine() {
    let config = Config::new();
    let report = config.json("server");
    let names: Vec<_> =
        report["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(["localhost", "127.0.0.1", "::1"].iter().all(|name| names.contains(name)), "{names:?}");
    // The last of the three years' days has begun, or begins this very second.
    assert!((3 * 365 - 1..=3 * 365).contains(&report["days_left"].as_i64().unwrap()), "{report}");
}

#[test]
fn an_identity_is_replaced_by_force_only() {
    let config = Config::new();
    let first = config.json("server")["fingerprint"].clone();
    let (kind, error) = config.error("server");
    assert_eq!(kind, "invalid_option");
    assert!(error.contains("--force") && error.contains("server.key"), "{error}");
    assert_eq!(config.json("show")["identities"][0]["fingerprint"], first);
    let second = config.json("server --force")["fingerprint"].clone();
    assert_ne!(second, first);
    assert_eq!(config.json("show")["identities"][0]["fingerprint"], second);
}

#[test]
fn an_authority_signs_the_servers_certificate() {
    let config = Config::new();
    let (kind, error) = config.error("server --ca");
    assert_eq!(kind, "not_found");
    assert!(error.contains("framelane identity ca"), "{error}");
    config.text("ca --name cameras");
    assert!(
        config.text("server --ca --name cam.example").contains("tls://cam.example:7420/CHANNEL?ca=ca.crt")
    );
    let report = config.json("show");
    let roles: Vec<_> = report["identities"].as_array().unwrap().iter().map(|one| &one["role"]).collect();
    assert_eq!(roles, ["server", "ca"]);
}

#[test]
fn a_client_is_allowed_by_the_line_that_it_prints() {
    let (client, server) = (Config::new(), Config::new());
    let text = client.text("client laptop");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("framelane identity ")).unwrap();
    assert_eq!(server.text(&line.replace('\'', "")), "laptop may read **\n");
    let fingerprint = Identity::from_directory(&client.path(), Role::Client).unwrap().fingerprint();
    assert_eq!(server.clients().authorize(None, Some(fingerprint)).unwrap().name, "laptop");
}

#[test]
fn a_client_for_another_machine_goes_to_a_directory_of_its_own() {
    let config = Config::new();
    let out = config.path().join("kiosk");
    let report = config.json(&format!("client kiosk --out {}", out.display()));
    assert_eq!(report["key"], out.join("client.key").display().to_string());
    assert!(Identity::from_directory(&out, Role::Client).is_ok());
    assert_eq!(config.error("show").0, "not_found");
}

#[test]
fn a_token_is_printed_once_alone_and_lets_its_client_in() {
    let config = Config::new();
    let text = config.text("token viewer --read cam*,hall/** --write viewer/back");
    let token: Token = text.trim_end().parse().unwrap();
    assert_eq!(text, format!("{}\n", token.expose()));
    let grant = config.clients().authorize(Some(&token), None).unwrap();
    assert!(grant.read.matches("cam0") && grant.read.matches("hall/1") && !grant.read.matches("cam0/x"));
    assert!(grant.write.matches("viewer/back") && !grant.write.matches("cam0"));
    for (line, secret) in [("list", token.expose()), ("list --json", token.expose())] {
        assert!(!config.text(line).contains(secret), "{line}");
    }
    let kept = fs::read_to_string(config.path().join("clients")).unwrap();
    assert!(kept.contains("viewer token=hmac-sha256:") && !kept.contains(token.expose()), "{kept}");
    assert_eq!(mode(config.path().join("clients")), 0o600);
}

#[test]
fn a_token_goes_to_a_new_private_file_instead() {
    let config = Config::new();
    let out = config.0.path().join("camera.token");
    let line = format!("token camera --write cam0 --out {}", out.display());
    let report = config.json(&line);
    assert_eq!((&report["token"], &report["file"]), (&Value::Null, &out.display().to_string().into()));
    assert_eq!(mode(&out), 0o600);
    let token = Token::from_file(&out).unwrap();
    assert!(config.clients().authorize(Some(&token), None).unwrap().write.matches("cam0"));
    // Neither the file nor the client is replaced.
    assert_eq!(config.error(&line).0, "invalid_option");
    assert_eq!(Token::from_file(&out).unwrap().expose(), token.expose());
    let other = config.0.path().join("other.token");
    let (_, error) = config.error(&format!("token camera --write cam0 --out {}", other.display()));
    assert!(error.contains("revoke camera"), "{error}");
    assert!(!other.exists());
}

#[test]
fn a_token_that_nobody_could_read_is_not_let_in() {
    let config = Config::new();
    config.text("token first --read **");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = config.command("token second --read **").stdout(full).output().unwrap();
    assert!(!output.status.success());
    let clients = config.json("list")["clients"].clone();
    assert_eq!((clients.as_array().unwrap().len(), &clients[0]["name"]), (1, &"first".into()));
}

#[test]
fn clients_are_listed_and_revoked() {
    let config = Config::new();
    assert!(config.text("list").contains("no clients"));
    let fingerprint = format!("SHA256:{}", ["AB"; 32].join(":"));
    let added = config.json(&format!("allow laptop {fingerprint} --read **"));
    config.text("token viewer --read cam*");
    let text = config.text("list");
    assert!(text.starts_with("CLIENT") && text.contains("laptop") && text.contains("cam*"), "{text}");
    let clients = config.json("list")["clients"].clone();
    assert_eq!(clients[0], added);
    assert_eq!(clients[0]["fingerprint"], format!("sha256:{}", "ab".repeat(32)));
    assert_eq!((&clients[1]["kind"], &clients[1]["fingerprint"]), (&"token".into(), &Value::Null));
    assert!(config.text("revoke laptop").contains("laptop"));
    assert_eq!(config.error("revoke laptop").0, "not_found");
    assert_eq!(config.json("list")["clients"].as_array().unwrap().len(), 1);
}

#[test]
fn wrong_arguments_report_what_was_expected() {
    let config = Config::new();
    for (line, word) in [
        ("allow laptop sha256:12 --read **", "64 hexadecimal digits"),
        ("token viewer --read cam**", "whole parts"),
        ("token viewer --read cam,,cam1", "empty"),
        ("token viewer", "--read"),
        ("token view/er --read **", "view/er"),
        ("server --days 0", "36500"),
        ("server --name no_/name", "no_/name"),
        ("client lap;top", "lap;top"),
    ] {
        let (kind, error) = config.error(line);
        assert_eq!(kind, "invalid_option", "{line}");
        assert!(error.contains(word), "{line}: {error}");
    }
    assert!(!config.path().join("clients").exists() && !config.path().join("server.key").exists());
}

#[test]
fn a_damaged_clients_file_is_neither_used_nor_written_over() {
    let config = Config::new();
    config.text("token viewer --read **");
    let file = config.path().join("clients");
    let damaged = format!("{}what is this\n", fs::read_to_string(&file).unwrap());
    fs::write(&file, &damaged).unwrap();
    for line in ["list", "revoke viewer", "token other --read **"] {
        let (kind, error) = config.error(line);
        assert_eq!(kind, "damaged", "{line}");
        assert!(error.contains("line 3"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let (kind, error) = config.error("list");
    assert_eq!(kind, "permission_denied");
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn commands_at_the_same_time_lose_no_client() {
    let config = Config::new();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let mut command = config.command(&format!("token client{number} --read cam{number}"));
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let clients = config.clients();
    for (number, output) in outputs.iter().enumerate() {
        assert!(output.status.success());
        let token: Token = std::str::from_utf8(&output.stdout).unwrap().parse().unwrap();
        assert_eq!(clients.authorize(Some(&token), None).unwrap().name, format!("client{number}"));
    }
}

#[test]
fn the_configuration_lies_where_the_environment_says() {
    let place = tempfile::tempdir().unwrap();
    let run = |variables: &[(&str, &Path)]| {
        let mut command = command_in(place.path(), "identity server --json");
        for name in ["FRAMELANE_CONFIG", "XDG_CONFIG_HOME", "HOME"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let path = |name: &str| place.path().join(name);
    let relative = Path::new("relative");
    for (variables, expected) in [
        (&[("FRAMELANE_CONFIG", path("a").as_path()), ("HOME", &path("x"))][..], path("a")),
        (&[("XDG_CONFIG_HOME", &path("b")), ("HOME", &path("x"))], path("b/framelane")),
        (&[("XDG_CONFIG_HOME", relative), ("HOME", &path("c"))], path("c/.config/framelane")),
    ] {
        assert!(run(variables).status.success());
        assert!(expected.join("server.key").exists(), "{}", expected.display());
    }
    assert!(!path("x").exists());
    let output = run(&[]);
    assert_eq!(json_error(&output)["kind"], "invalid_option");
}
