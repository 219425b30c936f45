//! The wires between hosts do what the tests of links rely on: they delay, lose, limit, and can be cut and
//! joined.
//!
//! How the time of a packet is reckoned is tested in `src/hosts/pipe.rs`; here it is real TCP on real
//! devices.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use framelane_tests::{Host, Hosts, Wire, wait_until};

/// A TCP connection from one host to another.
fn connect(from: &Host, to: &Host) -> (TcpStream, TcpStream) {
    let listener = to.run(|| TcpListener::bind((to.address(), 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let near = from.run(|| TcpStream::connect((to.address(), port)).unwrap());
    let (far, _) = listener.accept().unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// The time until an answer to one byte has come.
fn round_trip(near: &TcpStream, far: &TcpStream) -> Duration {
    let start = Instant::now();
    for [mut from, mut to] in [[near, far], [far, near]] {
        from.write_all(&[7]).unwrap();
        to.read_exact(&mut [0]).unwrap();
    }
    start.elapsed()
}

fn least_round_trip(near: &TcpStream, far: &TcpStream) -> Duration {
    (0..10).map(|_| round_trip(near, far)).min().unwrap()
}

/// Sends bytes, and checks each of them. Returns the time from the first to the last.
fn transfer(mut near: TcpStream, mut far: TcpStream, bytes: usize) -> Duration {
    let byte_at = |position: usize| (position % 251) as u8;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let data: Vec<_> = (0..bytes).map(byte_at).collect();
            near.write_all(&data).unwrap();
        });
        let (mut position, mut start) = (0, None);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let len = far.read(&mut buffer).unwrap();
            if len == 0 {
                assert_eq!(position, bytes);
                return start.map_or(Duration::ZERO, |start: Instant| start.elapsed());
            }
            start.get_or_insert_with(Instant::now);
            assert!(buffer[..len].iter().enumerate().all(|(at, byte)| *byte == byte_at(position + at)));
            position += len;
        }
    })
}

fn megabits_per_second(bytes: usize, time: Duration) -> f64 {
    bytes as f64 * 8.0 / 1e6 / time.as_secs_f64()
}

#[test]
fn command_on_a_host_sees_only_its_device() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    for index in 0..2 {
        let output = hosts[index].command("ip", &["-4", "-oneline", "address"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("{}/24", hosts[index].address())), "{text}");
        assert_eq!(text.lines().count(), 2, "itself and the cable: {text}");
    }
    let outside = hosts[0].run(|| TcpStream::connect("192.0.2.1:80"));
    assert_eq!(outside.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
}

#[test]
fn round_trip_takes_twice_the_delay_also_after_a_change() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let (near, far) = connect(&hosts[0], &hosts[1]);
    let mut found = vec![least_round_trip(&near, &far)];
    for ms in [10, 50] {
        let delay = Duration::from_millis(ms);
        hosts.set_wire(Wire { delay, ..Wire::default() });
        found.push(least_round_trip(&near, &far));
        assert!(*found.last().unwrap() >= 2 * delay, "{found:?}");
    }
    println!("hosts: round trips of a byte without delay, with 10 ms and with 50 ms: {found:.2?}");
}

#[test]
fn a_transfer_is_as_fast_as_the_wire_and_no_faster() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let bytes = 100 << 20;
    let (near, far) = connect(&hosts[0], &hosts[1]);
    let time = transfer(near, far, bytes);
    println!("hosts: {:.0} Mbit/s without limit", megabits_per_second(bytes, time));

    let bytes = 2 << 20;
    hosts.set_wire(Wire { rate_bits_per_second: Some(50_000_000), ..Wire::default() });
    let (near, far) = connect(&hosts[0], &hosts[1]);
    let time = transfer(near, far, bytes);
    let found = megabits_per_second(bytes, time);
    println!("hosts: {found:.1} of 50 Mbit/s, {:?}", hosts.counts(0, 1));
    assert!(found <= 50.0, "{found}");
}

#[test]
fn transfer_over_a_lossy_network_arrives_whole() {
    let wire = Wire {
        delay: Duration::from_millis(50),
        jitter: Duration::from_millis(5),
        loss: 0.01,
        rate_bits_per_second: Some(10_000_000),
        queue_bytes: 128 << 10,
    };
    let Some(hosts) = Hosts::unless_skipped(2, wire) else { return };
    let (near, far) = connect(&hosts[0], &hosts[1]);
    let bytes = 2 << 20;
    let found = megabits_per_second(bytes, transfer(near, far, bytes));
    let counts = hosts.counts(0, 1);
    println!("hosts: {found:.1} of 10 Mbit/s at 50 ms and 1 % loss, {counts:?}");
    assert!(found <= 10.0, "{found}");
    // Packets are whole on this side of the device too, not what the sender would have an adapter cut up.
    let sent = counts.arrived + counts.lost + counts.dropped;
    assert!(sent >= (bytes / 1460) as u64 && counts.arrived_bytes / counts.arrived <= 1500, "{counts:?}");
    // Some 15 are expected; how exactly the share is kept is tested with more packets where none needs to be
    // carried.
    assert!((1..=45).contains(&counts.lost), "{counts:?}");
}

#[test]
fn a_connection_outlives_a_partition() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let (mut near, mut far) = connect(&hosts[0], &hosts[1]);
    round_trip(&near, &far);
    let before = hosts.counts(0, 1);
    hosts.partition();
    near.write_all(b"hello").unwrap();
    wait_until!(hosts.counts(0, 1).cut > 0);
    assert_eq!(hosts.counts(0, 1).arrived, before.arrived);
    hosts.heal();
    let mut found = [0; 5];
    far.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"hello");
}

#[test]
fn each_of_three_hosts_has_a_wire_of_its_own_to_each_other() {
    let Some(hosts) = Hosts::unless_skipped(3, Wire::default()) else { return };
    let delay = Duration::from_millis(40);
    hosts.set_wire_between(0, 2, Wire { delay, ..Wire::default() });
    hosts.partition_between(1, 2);
    let (near, far) = connect(&hosts[0], &hosts[1]);
    let quick = least_round_trip(&near, &far);
    let (near, far) = connect(&hosts[2], &hosts[0]);
    let slow = least_round_trip(&near, &far);
    assert!(slow >= 2 * delay);
    println!("hosts: round trips of a byte on two wires of one host: {quick:.2?} and {slow:.2?}");
    let nobody = hosts[1]
        .run(|| TcpStream::connect_timeout(&(hosts[2].address(), 1).into(), Duration::from_millis(200)));
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(hosts.counts(1, 2).cut > 0);
    hosts.heal();
    connect(&hosts[1], &hosts[2]);
}
