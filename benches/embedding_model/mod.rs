//! Server with an OpenAI-compatible `/embeddings` whose vectors are random, for measurements of what surrounds a model.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

pub const DIMENSIONS: usize = 384;

/// Serves connections until the process ends. Returns the address.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for (seed, stream) in (0..).zip(listener.incoming()) {
            let Ok(stream) = stream else { return };
            // An error is a client that went away.
            thread::spawn(move || serve(stream, fastrand::Rng::with_seed(seed)));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream, mut random: fastrand::Rng) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(length) = body_length(&mut reader)? {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let request: serde_json::Value = serde_json::from_slice(&body)?;
        let texts = request["input"].as_array().map_or(0, Vec::len);
        let response = response(texts, &mut random);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{response}", response.len())?;
    }
    Ok(())
}

/// Reads the head of a request, and returns the length of its body; `None` at the end of the connection.
fn body_length(reader: &mut impl BufRead) -> io::Result<Option<usize>> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
            None if line == "\r\n" => return Ok(Some(length)),
            None => {}
        }
    }
}

fn response(texts: usize, random: &mut fastrand::Rng) -> String {
    let mut json = String::from("{\"data\":[");
    for index in 0..texts {
        let _ = write!(json, "{}{{\"index\":{index},\"embedding\":[", if index > 0 { "," } else { "" });
        for number in 0..DIMENSIONS {
            let _ = write!(json, "{}{}", if number > 0 { "," } else { "" }, random.f32() - 0.5);
        }
        json.push_str("]}");
    }
    json.push_str("]}");
    json
}
