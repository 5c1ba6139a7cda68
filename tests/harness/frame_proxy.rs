//! A network that looks into what the server says: it may lose or repeat single frames, or fall silent.

use serde_json::Value;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const TEXT: u8 = 1;

/// Between clients and the server. Dropping it cuts everything.
pub struct FrameProxy {
    pub url: String,
    /// When each WebSocket was opened.
    opened: Arc<Mutex<Vec<Instant>>>,
    server: Arc<Mutex<Option<SocketAddr>>>,
    task: tokio::task::JoinHandle<()>,
}

/// Decision about a text frame of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passes,
    IsLost,
    ComesTwice,
    /// It is lost, and nothing passes on this connection any more, in no direction; nobody is told.
    IsTheLast,
}

/// State that all connections share.
#[derive(Clone)]
struct Weather {
    server: Arc<Mutex<Option<SocketAddr>>>,
    opened: Arc<Mutex<Vec<Instant>>>,
    decide: Arc<Mutex<Decide>>,
}

type Decide = dyn FnMut(&Value) -> Fate + Send;

impl FrameProxy {
    /// In front of the server at `url`; `decide` is asked for each text frame.
    pub async fn start(url: &str, decide: impl FnMut(&Value) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own_url = format!("http://{}", listener.local_addr().unwrap());
        let opened = Arc::default();
        let server = Arc::new(Mutex::new(Some(address(url))));
        let weather =
            Weather { server: Arc::clone(&server), opened: Arc::clone(&opened), decide: Arc::new(Mutex::new(decide)) };
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(weather.clone().connection(client));
            }
        });
        Self { url: own_url, opened, server, task }
    }

    /// From now on it stands in front of another server, or of none: the address may soon belong to another server.
    pub fn lead_to(&self, url: Option<&str>) {
        *self.server.lock().unwrap() = url.map(address);
    }

    pub fn opened(&self) -> Vec<Instant> {
        self.opened.lock().unwrap().clone()
    }
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

impl Drop for FrameProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Weather {
    async fn connection(self, client: TcpStream) -> io::Result<()> {
        let Some(server) = *self.server.lock().unwrap() else { return Ok(()) };
        let server = TcpStream::connect(server).await?;
        let ((mut client_in, mut client_out), (mut server_in, mut server_out)) =
            (client.into_split(), server.into_split());
        let is_silent = tokio::select! {
            copied = copy(&mut client_in, &mut server_out) => copied.map(|_| false),
            carried = self.carry(&mut server_in, &mut client_out) => carried,
        }?;
        if is_silent {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Carries what the server says to its end (`false`), or until it is silent (`true`).
    async fn carry(&self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
        let mut head = Vec::new();
        while !head.ends_with(END_OF_HEAD) {
            head.push(from.read_u8().await?);
        }
        to.write_all(&head).await?;
        if !head.starts_with(b"HTTP/1.1 101") {
            return copy(from, to).await.map(|_| false);
        }
        self.opened.lock().unwrap().push(Instant::now());
        loop {
            let (kind, frame) = read_frame(from).await?;
            let fate = match serde_json::from_slice(frame.payload()) {
                Ok(value) if kind == TEXT => (self.decide.lock().unwrap())(&value),
                _ => Fate::Passes,
            };
            match fate {
                Fate::Passes => to.write_all(&frame.bytes).await?,
                Fate::ComesTwice => to.write_all(&[frame.bytes.as_slice(), &frame.bytes].concat()).await?,
                Fate::IsLost => {}
                Fate::IsTheLast => return Ok(true),
            }
        }
    }
}

/// A frame of a server, which has no mask.
struct RawFrame {
    bytes: Vec<u8>,
    payload_at: usize,
}

impl RawFrame {
    fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at..]
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, RawFrame)> {
    let mut bytes = vec![0; 2];
    from.read_exact(&mut bytes).await?;
    let length = match bytes[1] {
        126 => {
            let length = from.read_u16().await?;
            bytes.extend(length.to_be_bytes());
            usize::from(length)
        }
        127 => {
            let length = from.read_u64().await?;
            bytes.extend(length.to_be_bytes());
            usize::try_from(length).unwrap()
        }
        short => usize::from(short),
    };
    let payload_at = bytes.len();
    bytes.resize(payload_at + length, 0);
    from.read_exact(&mut bytes[payload_at..]).await?;
    Ok((bytes[0] & 0x0f, RawFrame { bytes, payload_at }))
}
