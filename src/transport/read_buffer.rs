//! Read buffer of a thread, shared by all its upgraded connections, so that an idle connection holds none.

use crate::limits::SOCKET_READ_BYTES;
use actix_web::{rt::net::TcpStream, web::BytesMut};
use std::{
    cell::Cell,
    io, mem,
    ops::{Deref, DerefMut},
    task::{Context, Poll, ready},
};

thread_local! {
    static BUFFER: Cell<BytesMut> = Cell::default();
}

/// The thread's buffer, empty at first. Dropping it returns it to the thread.
pub struct ReadBuffer(BytesMut);

impl ReadBuffer {
    /// Takes the buffer of the current thread.
    pub fn take() -> Self {
        Self(BUFFER.take())
    }

    /// Replaces the content with the bytes that have arrived; returns their number, which is 0 at the end of the stream.
    pub fn poll_read(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.0.clear();
        // Reuses the memory of messages that were handled.
        self.0.reserve(SOCKET_READ_BYTES);
        loop {
            match socket.try_read_buf(&mut self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_read_ready(cx))?,
                read => return Poll::Ready(read),
            }
        }
    }

    /// Moves the content to the end of another buffer.
    pub fn move_to(&mut self, other: &mut BytesMut) {
        other.extend_from_slice(&self.0);
        self.0.clear();
        if self.0.capacity() > SOCKET_READ_BYTES {
            // The codec has reserved space for a long frame.
            self.0 = BytesMut::new();
        }
    }
}

impl Deref for ReadBuffer {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.0
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.0
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.0.clear();
        BUFFER.set(mem::take(&mut self.0));
    }
}
