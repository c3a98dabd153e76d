//! Prepares the files of the pages: each without its comments, as it is and in the two encodings that browsers take, and a
//! table of them all for `src/http/assets.rs`. Nothing else is built from them, so that what runs in a browser is what stands
//! in `web/`, line by line: where a browser says that something went wrong is where it stands.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Folders whose modules import one another.
const MODULES: [&str; 3] = ["client", "languages", "widget"];
/// Single files.
const FILES: [&str; 7] =
    ["docs.css", "docs.js", "favicon.svg", "favicon-unread.svg", "page.css", "page.js", "vendor/rapidoc-min.js.gz"];
/// The best that brotli does with files of this size, and its largest window.
const BROTLI_QUALITY: i32 = 11;
const BROTLI_WINDOW_BITS: i32 = 22;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut files: Vec<String> = FILES.map(str::to_owned).into();
    for folder in MODULES {
        for entry in fs::read_dir(Path::new("web").join(folder))? {
            files.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    files.sort();

    let mut table = String::from("[\n");
    for file in files {
        let mut bytes = fs::read(Path::new("web").join(&file))?;
        if Path::new(&file).extension().is_some_and(|kind| kind == "js" || kind == "css") {
            bytes = without_comments(std::str::from_utf8(&bytes).expect("it is text")).into_bytes();
        }
        // What is kept compressed is served so.
        match file.strip_prefix("vendor/").and_then(|name| name.strip_suffix(".gz")) {
            Some(name) => row(&mut table, &out, name, None, &bytes, None)?,
            None => row(&mut table, &out, &file, Some(&bytes), &gzip(&bytes)?, Some(&brotli(&bytes)?))?,
        }
    }
    // What the server renders itself looks as the elements do.
    let mut sheet = String::new();
    for file in ["web/widget/style.js", "web/widget/panel-style.js"] {
        let style = without_comments(&fs::read_to_string(file)?);
        sheet += style.split('`').nth(1).expect("the sheet stands between the first two marks");
    }
    let sheet = sheet.as_bytes();
    row(&mut table, &out, "widget.css", Some(sheet), &gzip(sheet)?, Some(&brotli(sheet)?))?;
    table.push(']');
    fs::write(out.join("assets.rs"), table)
}

/// Leaves out every comment that begins a line, and keeps the lines.
fn without_comments(source: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in source.lines() {
        let text = line.trim_start();
        let begins = text.starts_with("/*");
        if inside || begins {
            let end = text.find("*/");
            inside = end.is_none();
            kept += end.map_or("", |at| text[at + 2..].trim_end());
        } else if !text.starts_with("//") {
            kept += line;
        }
        kept.push('\n');
    }
    kept
}

/// Writes a file and its encodings, and its line in the table.
fn row(
    table: &mut String,
    out: &Path,
    name: &str,
    plain: Option<&[u8]>,
    gzip: &[u8],
    brotli: Option<&[u8]>,
) -> io::Result<()> {
    let included = |ending: &str, bytes: Option<&[u8]>| -> io::Result<String> {
        let Some(bytes) = bytes else { return Ok("None".to_owned()) };
        let path = out.join(format!("{}{ending}", name.replace('/', "-")));
        fs::write(&path, bytes)?;
        Ok(format!("Some(include_bytes!({:?}).as_slice())", path.display().to_string()))
    };
    let plain = included("", plain)?;
    let (gzip, brotli) = (included(".gz", Some(gzip))?, included(".br", brotli)?);
    writeln!(table, "Asset {{ name: {name:?}, plain: {plain}, gzip: {gzip}, brotli: {brotli} }},")
        .map_err(io::Error::other)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::new();
    let parameters = ::brotli::enc::BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: BROTLI_WINDOW_BITS,
        ..::brotli::enc::BrotliEncoderParams::default()
    };
    ::brotli::BrotliCompress(&mut &*bytes, &mut encoded, &parameters)?;
    Ok(encoded)
}
