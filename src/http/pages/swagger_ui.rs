//! The files of Swagger UI, which renders the OpenAPI document.
//!
//! The archive of a Swagger UI release is compiled into the program and unpacked on the first request.

use std::{
    collections::HashMap,
    io::{Cursor, Read},
    sync::LazyLock,
};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// Replaces `swagger-initializer.js` of the archive, which loads an example.
const INITIALIZER: &str = r##"window.onload = () => {
  window.ui = SwaggerUIBundle({
    url: "/api/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl],
  });
};
"##;

/// `index.html` and the files it loads, with their content types.
const FILES: [(&str, &str); 7] = [
    ("index.html", "text/html"),
    ("index.css", "text/css"),
    ("swagger-ui.css", "text/css"),
    ("swagger-ui-bundle.js", "text/javascript"),
    ("swagger-ui-standalone-preset.js", "text/javascript"),
    ("favicon-16x16.png", "image/png"),
    ("favicon-32x32.png", "image/png"),
];

/// A file and its content type.
#[derive(Debug)]
pub struct File {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

/// Returns the file at `path`; the empty path is the page itself.
///
/// # Errors
/// When the archive cannot be unpacked.
pub fn file(path: &str) -> Result<Option<&'static File>, &'static str> {
    static UNPACKED: LazyLock<Result<HashMap<&str, File>, String>> = LazyLock::new(unpack);
    let files = UNPACKED.as_ref().map_err(String::as_str)?;
    Ok(files.get(if path.is_empty() { "index.html" } else { path }))
}

fn unpack() -> Result<HashMap<&'static str, File>, String> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).map_err(|error| error.to_string())?;
    // The top folder is named after the release.
    let paths: Vec<String> = archive.file_names().filter_map(|path| Some(path.ok()?.into_owned())).collect();
    let mut files = HashMap::new();
    for (name, content_type) in FILES {
        let is_it =
            |path: &&String| path.split_once('/').is_some_and(|(_, rest)| rest.strip_prefix("dist/") == Some(name));
        let path = paths.iter().find(is_it).ok_or_else(|| format!("Swagger UI has no {name}"))?;
        let mut bytes = Vec::new();
        let mut entry = archive.by_name(path).map_err(|error| error.to_string())?;
        entry.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        files.insert(name, File { content_type, bytes });
    }
    let initializer = File { content_type: "text/javascript", bytes: INITIALIZER.as_bytes().to_vec() };
    files.insert("swagger-initializer.js", initializer);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_loads_is_unpacked() {
        let page = str::from_utf8(&file("").unwrap().unwrap().bytes).unwrap();
        let is_name = |text: &&str| [".css", ".js", ".png"].iter().any(|ending| text.ends_with(ending));
        let names: Vec<&str> = page.split('"').filter(is_name).map(|name| name.trim_start_matches("./")).collect();
        assert_eq!(names.len(), FILES.len(), "{page}");
        for name in names {
            assert!(!file(name).unwrap().unwrap_or_else(|| panic!("no {name}")).bytes.is_empty(), "{name}");
        }
        assert!(file("../Cargo.toml").unwrap().is_none());
    }

    #[test]
    fn the_initializer_uses_globals_that_the_scripts_define() {
        let defined = |name: &str, global: &str| {
            let script = String::from_utf8_lossy(&file(name).unwrap().unwrap().bytes).into_owned();
            assert!(script.contains(global) && INITIALIZER.contains(global), "{name} defines no {global}");
        };
        defined("swagger-ui-bundle.js", "SwaggerUIBundle");
        defined("swagger-ui-standalone-preset.js", "SwaggerUIStandalonePreset");
    }
}
