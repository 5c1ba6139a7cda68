//! One WebSocket connection: opening, authentication, text frames, keep-alive. Turns are handled in `answer`.

use super::{Account, ClientError, Frame, ServerError};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    time::Duration,
};
use switchboard_protocol::Dialect;
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        self, Bytes, Message, Utf8Bytes,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{
            HeaderValue, Uri,
            header::{AUTHORIZATION, LOCATION, SEC_WEBSOCKET_PROTOCOL, USER_AGENT},
        },
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// Default time limit for connecting and authenticating.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Default time without data before a ping is sent, and default time limit for a reply.
const PING_AFTER: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Default number of reconnection attempts: about a minute and a half with backoff.
const MAX_RECONNECTS: u32 = 8;
/// Read buffer of each connection, in bytes: small, so that a process can hold many.
const BUFFER: usize = 4 * 1024;
const AGENT: &str = concat!("switchboard-client/", env!("CARGO_PKG_VERSION"));

/// Address of a server and connection settings.
#[derive(Clone, Debug)]
pub struct Connector {
    secure: bool,
    host: String,
    port: u16,
    pub dialect: Dialect,
    /// Local address to connect from; `None` lets the system choose.
    pub source: Option<IpAddr>,
    /// Size of the socket's receive buffer, in bytes; `None` lets the system choose.
    pub receive_buffer: Option<u32>,
    /// Time limit for connecting and authenticating.
    pub timeout: Duration,
    /// A ping is sent after one to two times this long without data.
    pub ping_after: Duration,
    /// The connection is considered lost if nothing arrives within this time after a ping.
    pub pong_within: Duration,
    /// Maximum number of reconnection attempts after a lost connection.
    pub max_reconnects: u32,
}

/// An authenticated connection, with the times of its opening.
pub struct Opened {
    pub connection: Connection,
    /// When the WebSocket upgrade completed.
    pub connected_at: Instant,
    /// When `auth_success` arrived.
    pub authenticated_at: Instant,
}

/// An open WebSocket.
pub struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    received_bytes: u64,
    keep_alive: KeepAlive,
}

/// Detects a dead network, which closes nothing. Any received data counts as a reply. Receiving only sets a flag, so that the
/// timer need not be reset for each frame.
struct KeepAlive {
    ping_after: Duration,
    pong_within: Duration,
    /// Time of the next check.
    alarm: Pin<Box<Sleep>>,
    has_received: bool,
    awaits_pong: bool,
}

impl Connector {
    /// Creates a connector for a server at `ws://host:port` (or `wss`, `http`, `https`), with the dialect `chat.v2`.
    ///
    /// # Errors
    /// When the URL has another scheme, no host, or a path or query.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let refuse = |reason: &str| ClientError::Address { url: url.to_owned(), reason: reason.to_owned() };
        let uri: Uri = url.parse().map_err(|error: tungstenite::http::uri::InvalidUri| refuse(&error.to_string()))?;
        let secure = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(refuse("it must begin with ws://, wss://, http:// or https://")),
        };
        let host = uri.host().ok_or_else(|| refuse("it has no host"))?.to_owned();
        if !matches!(uri.path(), "" | "/" | "/ws/chat") || uri.query().is_some() {
            return Err(refuse("it must have no path or query, such as http://127.0.0.1:8000"));
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self {
            secure,
            host,
            port,
            dialect: Dialect::V2,
            source: None,
            receive_buffer: None,
            timeout: OPENING_TIMEOUT,
            ping_after: PING_AFTER,
            pong_within: PONG_WITHIN,
            max_reconnects: MAX_RECONNECTS,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the base URL of REST requests.
    pub fn http_url(&self) -> String {
        format!("http{}://{}:{}", if self.secure { "s" } else { "" }, self.host, self.port)
    }

    /// Resolves the server's addresses.
    ///
    /// # Errors
    /// When the host name cannot be resolved.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, ClientError> {
        let host = self.host.trim_matches(['[', ']']);
        let unknown = |error: io::Error| ClientError::Connect(io::Error::new(error.kind(), format!("{host}: {error}")));
        let found: Vec<_> = lookup_host((host, self.port)).await.map_err(unknown)?.collect();
        if found.is_empty() {
            return Err(ClientError::Connect(io::Error::new(io::ErrorKind::NotFound, "the host has no address")));
        }
        Ok(found)
    }

    /// Opens a connection and authenticates.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses the upgrade or the token, or takes too long.
    pub async fn open(&self, account: &Account) -> Result<Opened, ClientError> {
        let opening = async {
            let token = account.access_token().await?;
            let mut connection = self.upgrade("/ws/chat", self.dialect.subprotocol(), Some(&token)).await?;
            let connected_at = Instant::now();
            connection.read_auth().await?;
            Ok(Opened { connection, connected_at, authenticated_at: Instant::now() })
        };
        timeout(self.timeout, opening).await.map_err(|_| ClientError::Timeout("a connection to open"))?
    }

    /// Opens an operator's socket. Authenticates with a frame, because proxies can see a token in a header.
    pub(super) async fn open_ops(&self, token: &str) -> Result<Connection, ClientError> {
        let opening = async {
            let mut connection = self.upgrade("/ws/ops", "ops.v1", None).await?;
            connection.send(auth_frame(token)).await?;
            connection.read_auth().await?;
            Ok(connection)
        };
        timeout(self.timeout, opening).await.map_err(|_| ClientError::Timeout("the operators' socket to open"))?
    }

    async fn upgrade(
        &self,
        path: &str,
        subprotocol: &'static str,
        token: Option<&str>,
    ) -> Result<Connection, ClientError> {
        let stream = self.stream().await?;
        let request = self.request(path, subprotocol, token)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            // The client's frames are few and small: send each at once.
            .write_buffer_size(0)
            .max_message_size(None)
            .max_frame_size(None);
        let (socket, _) = client_async_tls_with_config(request, stream, Some(config), None).await.map_err(refused)?;
        let keep_alive = KeepAlive::new(self.ping_after, self.pong_within);
        Ok(Connection { socket, received_bytes: 0, keep_alive })
    }

    async fn stream(&self) -> Result<TcpStream, ClientError> {
        let mut last = None;
        for address in self.addresses().await? {
            match self.connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(io::Error::new(error.kind(), format!("{address}: {error}"))),
            }
        }
        Err(ClientError::Connect(last.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn request(&self, path: &str, subprotocol: &'static str, token: Option<&str>) -> Result<Request, ClientError> {
        let url = format!("ws{}://{}:{}{path}", if self.secure { "s" } else { "" }, self.host, self.port);
        let mut request = url.into_client_request().map_err(refused)?;
        let headers = request.headers_mut();
        if let Some(token) = token {
            let bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Auth {
                code: "INVALID_TOKEN".to_owned(),
                message: "the token has characters that a header cannot have".to_owned(),
            })?;
            headers.insert(AUTHORIZATION, bearer);
        }
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Ok(request)
    }
}

impl Connection {
    /// Returns the total size of all received text frames, in bytes.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Returns the next text frame. Answers pings meanwhile, and pings a silent server. Cancel-safe.
    ///
    /// # Errors
    /// When the connection was closed or lost.
    pub async fn next(&mut self) -> Result<Utf8Bytes, ClientError> {
        loop {
            let message = tokio::select! {
                biased;
                message = self.socket.next() => message,
                () = &mut self.keep_alive.alarm => {
                    if self.keep_alive.check()? {
                        let ping = self.socket.send(Message::Ping(Bytes::new()));
                        // Blocks if the server reads nothing; the next check detects that.
                        let _ = timeout(self.keep_alive.pong_within, ping).await;
                    }
                    continue;
                }
            };
            self.keep_alive.has_received = true;
            match message {
                Some(Ok(Message::Text(text))) => {
                    self.received_bytes += text.len() as u64;
                    return Ok(text);
                }
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(&error)),
                None => return Err(closed_with(1006)),
            }
        }
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// When the connection was closed or lost.
    pub async fn send(&mut self, frame: String) -> Result<(), ClientError> {
        self.socket.send(Message::text(frame)).await.map_err(|error| lost(&error))
    }

    /// Performs the closing handshake with code 1000.
    ///
    /// # Errors
    /// When the server does not reply in time, or replies with another code.
    pub async fn close(mut self) -> Result<(), ClientError> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        let handshake = async {
            self.socket.close(Some(frame)).await.map_err(|error| lost(&error))?;
            loop {
                match self.next().await {
                    Ok(_) => {}
                    Err(ClientError::Closed { code: 1000, .. }) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        timeout(CLOSE_TIMEOUT, handshake).await.unwrap_or(Err(ClientError::Timeout("the closing handshake")))
    }

    async fn read_auth(&mut self) -> Result<(), ClientError> {
        loop {
            let text = self.next().await?;
            let frame = Frame::parse(&text).map_err(|error| ClientError::Protocol(error.to_string()))?;
            match &*frame.kind {
                "auth_success" => return Ok(()),
                "auth_error" => return Err(auth_error(&frame)),
                "error" => return Err(ClientError::Server(server_error(&text))),
                // Notices arrive at any time.
                _ => {}
            }
        }
    }
}

impl KeepAlive {
    fn new(ping_after: Duration, pong_within: Duration) -> Self {
        let alarm = Box::pin(sleep(ping_after));
        Self { ping_after, pong_within, alarm, has_received: false, awaits_pong: false }
    }

    /// Handles the alarm. Returns whether to send a ping.
    ///
    /// # Errors
    /// When nothing arrived since the previous ping.
    fn check(&mut self) -> Result<bool, ClientError> {
        let has_received = std::mem::take(&mut self.has_received);
        if !has_received && self.awaits_pong {
            return Err(ClientError::Timeout("the reply to a ping"));
        }
        self.awaits_pong = !has_received;
        let next = if self.awaits_pong { self.pong_within } else { self.ping_after };
        self.alarm.as_mut().reset(Instant::now() + next);
        Ok(self.awaits_pong)
    }
}

pub(super) fn auth_frame(token: &str) -> String {
    json!({"type": "auth", "token": token}).to_string()
}

pub(super) fn auth_error(frame: &Frame<'_>) -> ClientError {
    let text = |text: &Option<super::Text<'_>>| text.as_deref().unwrap_or_default().to_owned();
    ClientError::Auth { code: text(&frame.code), message: text(&frame.message) }
}

fn closed(frame: Option<CloseFrame>) -> ClientError {
    match frame {
        Some(frame) => ClientError::Closed { code: frame.code.into(), reason: frame.reason.to_string() },
        None => closed_with(1005),
    }
}

fn closed_with(code: u16) -> ClientError {
    ClientError::Closed { code, reason: String::new() }
}

fn lost(error: &tungstenite::Error) -> ClientError {
    match error {
        tungstenite::Error::Protocol(error)
            if *error != tungstenite::error::ProtocolError::ResetWithoutClosingHandshake =>
        {
            ClientError::Protocol(error.to_string())
        }
        _ => ClientError::Closed { code: 1006, reason: error.to_string() },
    }
}

/// Converts the error of a failed upgrade.
fn refused(error: tungstenite::Error) -> ClientError {
    match error {
        tungstenite::Error::Http(response) if response.status().is_redirection() => {
            redirected(response.headers().get(LOCATION).map(HeaderValue::as_bytes))
        }
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let error = server_error(std::str::from_utf8(body).unwrap_or_default());
            ClientError::Refused { status: response.status().as_u16(), error }
        }
        tungstenite::Error::Io(error) => ClientError::Connect(error),
        // The server closed the connection before it replied.
        tungstenite::Error::ConnectionClosed
        | tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
            ClientError::Connect(io::ErrorKind::UnexpectedEof.into())
        }
        other => ClientError::Protocol(other.to_string()),
    }
}

/// Returns the error for a redirect with this `Location` header.
pub(super) fn redirected(location: Option<&[u8]>) -> ClientError {
    let to = location.map(String::from_utf8_lossy).unwrap_or_default();
    ClientError::Redirected { to: if to.is_empty() { "nowhere".to_owned() } else { to.into_owned() } }
}

/// Parses the error of a REST response or an `error` frame.
pub(super) fn server_error(body: &str) -> ServerError {
    let frame = Frame::parse(body).unwrap_or_default();
    let text = |text: Option<super::Text<'_>>, other: &str| text.as_deref().unwrap_or(other).to_owned();
    ServerError {
        code: text(frame.code, "HTTP"),
        message: text(frame.error, "a proxy or another server answered, not Switchboard; check the address"),
        retry_after_ms: frame.retry_after_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_a_scheme_and_a_host_but_no_path() {
        let connector = Connector::new("ws://127.0.0.1:8000").unwrap();
        assert_eq!((connector.http_url().as_str(), connector.port()), ("http://127.0.0.1:8000", 8000));
        assert_eq!(Connector::new("wss://chat.example.org/").unwrap().http_url(), "https://chat.example.org:443");
        assert_eq!(Connector::new("http://[::1]:80/ws/chat").unwrap().http_url(), "http://[::1]:80");
        for wrong in ["127.0.0.1:8000", "ftp://x", "ws://x/other", "ws://x/?token=1", "ws://"] {
            assert!(Connector::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn server_error_keeps_its_code() {
        let error = server_error(r#"{"error":"full","code":"OVERLOADED","retryable":true,"retry_after_ms":5}"#);
        assert_eq!((error.code.as_str(), error.retry_after_ms), ("OVERLOADED", Some(5)));
        assert_eq!(server_error("<html>").code, "HTTP");
    }
}
