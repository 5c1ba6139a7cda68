//! Reads and writes on a bare socket, and WebSocket frames (RFC 6455) as far as the servers and clients here need them:
//! whole messages below 64 KiB.

use std::{future::poll_fn, io};
use tokio::net::TcpStream;

/// Longest input that may wait for its end, in bytes.
const MAX_INPUT: usize = 64 * 1024;
const READ_AT_ONCE: usize = 4 * 1024;

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Waits for input. One task reads: unlike [`TcpStream::readable`], this keeps no list of waiting tasks.
pub async fn readable(stream: &TcpStream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_read_ready(cx)).await
}

/// Reads the available input; `false` when there is none after all.
pub fn read(stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; READ_AT_ONCE];
    match stream.try_read(&mut buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) if input.len() > MAX_INPUT => Err(io::ErrorKind::InvalidData.into()),
        Ok(count) => {
            input.extend_from_slice(&buffer[..count]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads until the end of an HTTP head, which is removed from the input and returned.
pub async fn read_head(stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = find(input, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&input[..end]).into_owned();
            input.drain(..end + 4);
            return Ok(head);
        }
        readable(stream).await?;
        read(stream, input)?;
    }
}

/// Returns the value of a header.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Returns the position of a sequence of bytes.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Frame that arrived.
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
    /// Length with its header.
    pub wire_bytes: usize,
}

/// Removes the first frame from the input, once all of it is there.
pub fn take_frame(input: &mut Vec<u8>) -> io::Result<Option<Frame>> {
    let (head_length, length) = match input.as_slice() {
        [_, second, ..] if second & 0x7f < 126 => (2, usize::from(second & 0x7f)),
        [_, second, high, low, ..] if second & 0x7f == 126 => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, second, ..] if second & 0x7f == 127 => return Err(io::ErrorKind::InvalidData.into()),
        _ => return Ok(None),
    };
    let is_masked = input[1] & 0x80 != 0;
    let payload_at = head_length + if is_masked { 4 } else { 0 };
    let wire_bytes = payload_at + length;
    if input.len() < wire_bytes {
        return Ok(None);
    }
    let mut payload = input[payload_at..wire_bytes].to_vec();
    if is_masked {
        let mask = &input[head_length..payload_at];
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    let frame = Frame { opcode: input[0] & 0x0f, payload, wire_bytes };
    input.drain(..wire_bytes);
    Ok(Some(frame))
}

/// Appends a frame of a server.
pub fn put_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    put_frame_head(opcode, payload.len(), 0, out);
    out.extend_from_slice(payload);
}

/// Appends a frame of a client, with a mask of zeros.
pub fn put_client_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    put_frame_head(opcode, payload.len(), 0x80, out);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

fn put_frame_head(opcode: u8, length: usize, mask_bit: u8, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match length {
        ..126 => out.push(mask_bit | length as u8),
        126..0x1_0000 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Sends one frame of a server.
pub async fn send(stream: &TcpStream, opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    put_frame(opcode, payload, &mut frame);
    write(stream, &frame).await
}

pub async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_both_sides_are_read_back() {
        for length in [0, 125, 126, 5000] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            put_frame(TEXT, &payload, &mut bytes);
            let first = bytes.len();
            put_client_frame(PING, &payload, &mut bytes);
            let whole = bytes.clone();
            let mut cut = whole[..first - 1].to_vec();
            assert!(take_frame(&mut cut).unwrap().is_none());
            for (opcode, wire_bytes) in [(TEXT, first), (PING, whole.len() - first)] {
                let frame = take_frame(&mut bytes).unwrap().unwrap();
                assert_eq!((frame.opcode, frame.wire_bytes, frame.payload.len()), (opcode, wire_bytes, length));
            }
            assert!(bytes.is_empty());
        }
    }
}
