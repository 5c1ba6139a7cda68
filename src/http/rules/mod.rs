//! Rules that settings set for requests: allowed hosts, limits of bodies, access to the metrics.

mod host;
mod json;
mod scrape;

pub use host::HostCheck;
pub use json::JsonLimit;
pub use scrape::ScrapeRules;
