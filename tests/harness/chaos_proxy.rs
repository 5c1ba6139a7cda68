//! A bad network: a TCP proxy that cuts, delays, splits and stalls, all by a seeded chance.

use fastrand::Rng;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::sleep,
};

/// Between clients and `to`. Dropping it cuts everything.
pub struct ChaosProxy {
    address: SocketAddr,
    pub counts: Arc<Counts>,
    task: tokio::task::JoinHandle<()>,
}

/// Numbers of its disturbances.
#[derive(Debug, Default)]
pub struct Counts {
    pub connections: AtomicU64,
    pub cuts: AtomicU64,
    pub stalls: AtomicU64,
    /// Connections that went silent without an end.
    pub silences: AtomicU64,
}

/// Disturbances of one direction of a connection.
struct Weather {
    rng: Rng,
    /// Bytes until the end.
    life: u64,
    /// The most bytes written at once.
    piece: usize,
    /// Kind of end of the connection.
    end: End,
    counts: Arc<Counts>,
}

#[derive(Clone, Copy)]
enum End {
    /// A peer that still writes gets a reset.
    Reset,
    /// As if the peer had left in the middle of something.
    Close,
    /// Nothing arrives any more, and nobody is told for a while.
    Silence,
}

impl ChaosProxy {
    pub async fn start(to: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(accept(listener, to, Rng::with_seed(seed), Arc::clone(&counts)));
        Self { address, counts, task }
    }

    /// `127.0.0.1:<port>`
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, mut rng: Rng, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        counts.connections.fetch_add(1, Relaxed);
        let end = *rng.choice(&[End::Reset, End::Reset, End::Close, End::Close, End::Silence]).unwrap();
        // How long a connection lives does not depend on what the other direction does: either may end it.
        let weathers = [(); 2].map(|()| Weather {
            life: if rng.f32() < 0.1 { u64::MAX } else { rng.u64(0..10_000) },
            piece: if rng.bool() { 64 * 1024 } else { rng.usize(1..40) },
            end,
            rng: rng.fork(),
            counts: Arc::clone(&counts),
        });
        connections.spawn(connection(client, to, weathers));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(client: TcpStream, to: SocketAddr, [mut up, mut down]: [Weather; 2]) -> io::Result<()> {
    let server = TcpStream::connect(to).await?;
    let end = up.end;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        if matches!(end, End::Reset) {
            stream.set_zero_linger()?;
        }
    }
    let counts = Arc::clone(&up.counts);
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    // The halves stay until the end of this function: both sides end together.
    let (mut to_server, mut to_client) = ((client_in, server_out), (server_in, client_out));
    let is_cut = tokio::select! {
        outcome = up.carry(&mut to_server.0, &mut to_server.1) => outcome,
        outcome = down.carry(&mut to_client.0, &mut to_client.1) => outcome,
    }?;
    if is_cut {
        counts.cuts.fetch_add(1, Relaxed);
        if matches!(end, End::Silence) {
            counts.silences.fetch_add(1, Relaxed);
            sleep(Duration::from_millis(up.rng.u64(500..3_000))).await;
        }
    }
    Ok(())
}

impl Weather {
    /// Carries bytes until their source ends (`false`) or the life of the connection does (`true`).
    async fn carry(&mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<bool> {
        let mut buffer = vec![0; 8 * 1024];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(false);
            }
            match self.rng.u32(0..100) {
                0..10 => sleep(Duration::from_millis(self.rng.u64(1..15))).await,
                10..12 => {
                    self.counts.stalls.fetch_add(1, Relaxed);
                    sleep(Duration::from_millis(self.rng.u64(50..300))).await;
                }
                _ => {}
            }
            for piece in buffer[..read].chunks(self.piece) {
                let lived = piece.len().min(usize::try_from(self.life).unwrap_or(usize::MAX));
                to.write_all(&piece[..lived]).await?;
                self.life -= lived as u64;
                if self.life == 0 {
                    return Ok(true);
                }
                // Each piece is a segment of its own.
                tokio::task::yield_now().await;
            }
        }
    }
}
