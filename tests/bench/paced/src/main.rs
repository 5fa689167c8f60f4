//! Sends one HTTP request again and again at a given rate over a few connections, and times the answers.
//!
//! A client that asks again as soon as it is answered measures how much a server can do: the time of an answer is then the
//! number of connections over the rate, whatever the server does with it. How long an answer takes at a load that the server can
//! bear is another question, and this one asks it. Times are counted from the sending, and beside that from when a request was due:
//! one that found no connection free has waited (G. Tene's "coordinated omission").
//!
//! One thread and blocking polls: the client shares the machine with who is measured.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// Sends one request again and again at a given rate.
#[derive(Parser)]
struct Arguments {
    /// Of the server, such as 127.0.0.1:8085.
    #[arg(long)]
    address: SocketAddr,
    /// The header `Host`.
    #[arg(long)]
    host: String,
    /// Path and query.
    #[arg(long)]
    path: String,
    /// A file with the body, which is JSON.
    #[arg(long)]
    body: PathBuf,
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Requests a second.
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

/// A connection, and the request that it has.
struct Connection {
    stream: TcpStream,
    request: Option<Asked>,
    answer: Vec<u8>,
}

/// When a request was due, and when it was sent.
struct Asked {
    due: Instant,
    sent: Instant,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.rate > 0.0 && arguments.connections > 0, "--rate and --connections must be above 0");
    // The kernel may put off a wait by 50 us otherwise.
    nix::sys::prctl::set_timerslack(1).context("cannot set the timer slack")?;
    let body =
        std::fs::read(&arguments.body).with_context(|| format!("--body {}", arguments.body.display()))?;
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        arguments.path,
        arguments.host,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);

    let mut connections =
        (0..arguments.connections).map(|_| connect(arguments.address)).collect::<Result<Vec<_>>>()?;
    let total = (arguments.rate * arguments.seconds) as usize;
    let begun = Instant::now() + Duration::from_millis(10);
    let due = |number: usize| begun + Duration::from_secs_f64(number as f64 / arguments.rate);
    let (mut from_sent, mut from_due) = (Vec::with_capacity(total), Vec::with_capacity(total));
    let (mut sent, mut failed) = (0, 0);
    let mut free: VecDeque<usize> = (0..connections.len()).collect();
    while from_sent.len() < total {
        while sent < total && due(sent) <= Instant::now() {
            let Some(index) = free.pop_front() else { break };
            let connection = &mut connections[index];
            connection.request = Some(Asked { due: due(sent), sent: Instant::now() });
            connection.stream.write_all(&request).context("sending")?;
            sent += 1;
        }
        let idle = sent < total && !free.is_empty();
        let wait =
            if idle { due(sent).saturating_duration_since(Instant::now()) } else { Duration::from_secs(10) };
        let ready: Vec<bool> = {
            let mut polled: Vec<PollFd<'_>> =
                connections.iter().map(|one| PollFd::new(one.stream.as_fd(), PollFlags::POLLIN)).collect();
            match ppoll(&mut polled, Some(TimeSpec::from(wait)), None) {
                Ok(0) if !idle => bail!("no answer for 10 s"),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error).context("waiting for answers"),
            }
            polled.iter().map(|one| one.any().unwrap_or_default()).collect()
        };
        for (index, connection) in connections.iter_mut().enumerate().filter(|(index, _)| ready[*index]) {
            let Some(status) = connection.read()? else { continue };
            let asked = connection.request.take().context("an answer that nobody asked for")?;
            let now = Instant::now();
            from_sent.push(now - asked.sent);
            from_due.push(now - asked.due);
            failed += usize::from(status != 200);
            free.push_back(index);
        }
    }
    let took = begun.elapsed().as_secs_f64();
    from_sent.sort_unstable();
    from_due.sort_unstable();
    let micros = |times: &[Duration], hundredths: usize| {
        times
            .get(times.len().saturating_sub(1) * hundredths / 100)
            .map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let found = serde_json::json!({
        "requests_per_s": from_sent.len() as f64 / took,
        "failed": failed,
        "p50_us": micros(&from_sent, 50),
        "p99_us": micros(&from_sent, 99),
        "p50_from_due_us": micros(&from_due, 50),
        "p99_from_due_us": micros(&from_due, 99),
    });
    writeln!(std::io::stdout(), "{found}")?;
    Ok(())
}

fn connect(address: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(Connection { stream, request: None, answer: Vec::with_capacity(4096) })
}

impl Connection {
    /// Reads what has come; the status once the answer is whole.
    fn read(&mut self) -> Result<Option<u16>> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => self.answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("reading an answer"),
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(&self.answer).context("an answer's head")?
        else {
            return Ok(None);
        };
        let length =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.context("an answer without its length")?;
        let length: usize =
            std::str::from_utf8(length.value)?.trim().parse().context("an answer's length")?;
        let status = response.code.context("an answer without a status")?;
        if self.answer.len() < head + length {
            return Ok(None);
        }
        ensure!(self.answer.len() == head + length, "more than one answer");
        self.answer.clear();
        Ok(Some(status))
    }
}
