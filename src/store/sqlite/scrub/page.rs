//! What a page of the file has that belongs to no row; pure and total.
//!
//! The format is <https://www.sqlite.org/fileformat.html>. A page is taken for one of rows only if all that it says of itself
//! agrees: rows and freed blocks lie within it, do not overlap, and leave as many single bytes between them as its head says.

use std::ops::Range;

/// Bytes of a freed block that say where the next one is, and how large this one is.
const BLOCK_HEAD_BYTES: usize = 4;

/// The kinds of pages that have rows, as their first byte says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    IndexInner,
    TableInner,
    IndexLeaf,
    TableLeaf,
}

/// The parts of a page that belong to no row; nothing if it is not a page of rows, or not as SQLite writes one.
pub(super) fn unused(page: &[u8]) -> Option<Vec<Range<usize>>> {
    let (kind, head_bytes) = match page.first()? {
        2 => (Kind::IndexInner, 12),
        5 => (Kind::TableInner, 12),
        10 => (Kind::IndexLeaf, 8),
        13 => (Kind::TableLeaf, 8),
        _ => return None,
    };
    let rows = short(page, 3)?;
    let content = match short(page, 5)? {
        0 => 1 << 16,
        content => content,
    };
    let pointers_end = head_bytes + 2 * rows;
    if pointers_end > content || content > page.len() {
        return None;
    }
    // Where each row or freed block begins, where what is needed of it ends, and where it ends.
    let mut parts = Vec::with_capacity(rows);
    for index in 0..rows {
        let start = short(page, head_bytes + 2 * index)?;
        let end = start + row_bytes(page, start, kind)?;
        parts.push((start, end, end));
    }
    let mut block = short(page, 1)?;
    while block != 0 {
        let (next, bytes) = (short(page, block)?, short(page, block + 2)?);
        if bytes < BLOCK_HEAD_BYTES || (next != 0 && next < block + bytes) {
            return None;
        }
        parts.push((block, block + BLOCK_HEAD_BYTES, block + bytes));
        block = next;
    }
    parts.sort_unstable();
    parts.push((page.len(), page.len(), page.len()));
    let mut unused = Vec::with_capacity(2 * parts.len() + 1);
    unused.push(pointers_end..content);
    let (mut at, mut between) = (content, 0);
    for (start, needed, end) in parts {
        if start < at || end > page.len() {
            return None;
        }
        between += start - at;
        unused.extend([at..start, needed..end]);
        at = end;
    }
    (between == usize::from(page[7])).then_some(unused)
}

/// How many bytes a row takes in its page.
fn row_bytes(page: &[u8], start: usize, kind: Kind) -> Option<usize> {
    let mut at = start;
    if matches!(kind, Kind::IndexInner | Kind::TableInner) {
        // The page below it.
        at += 4;
    }
    let (first, bytes) = varint(page, at)?;
    at += bytes;
    match kind {
        Kind::TableInner => {}
        Kind::TableLeaf => {
            let (_key, bytes) = varint(page, at)?;
            at += bytes + here(first, page.len(), page.len().checked_sub(35)?)?;
        }
        Kind::IndexInner | Kind::IndexLeaf => {
            at += here(first, page.len(), (page.len().checked_sub(12)? * 64 / 255).checked_sub(23)?)?;
        }
    }
    Some((at - start).max(4))
}

/// How much of a row's content stands in its page, with the number of the page where it goes on, if it does.
fn here(content: u64, page: usize, most: usize) -> Option<usize> {
    let content = usize::try_from(content).ok()?;
    if content <= most {
        return Some(content);
    }
    let least = (page.checked_sub(12)? * 32 / 255).checked_sub(23)?;
    let here = least + (content - least) % (page - 4);
    Some(4 + if here <= most { here } else { least })
}

/// A number of two bytes.
fn short(page: &[u8], at: usize) -> Option<usize> {
    let bytes = page.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes(bytes.try_into().ok()?)))
}

/// A number of one to nine bytes, and how many it has.
fn varint(page: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0;
    for (index, byte) in page.get(at..)?.iter().enumerate().take(9) {
        if index == 8 {
            return Some((number << 8 | u64::from(*byte), 9));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// Rows of all sizes, in tables and indexes, added, changed and deleted at random; the file is as it is after that.
    fn file(page_bytes: usize, path: &std::path::Path) -> Vec<u8> {
        let connection = Connection::open(path).expect("opens");
        connection
            .execute_batch(&format!(
                "PRAGMA page_size = {page_bytes}; PRAGMA synchronous = OFF; BEGIN;
                 CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT);
                 CREATE INDEX rows_text ON rows (text);
                 CREATE TABLE keyed (text TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;"
            ))
            .expect("made");
        let mut random = fastrand::Rng::with_seed(14);
        for _ in 0..3000 {
            let (number, bytes) = (random.i64(-500..500), 1_usize << random.u32(0..13));
            let text = format!("{number} {}", "x".repeat(random.usize(0..bytes)));
            match random.u8(0..4) {
                0 => connection.execute("DELETE FROM rows WHERE number = ?1", [number]),
                1 => connection.execute("DELETE FROM keyed WHERE number = ?1", [number]),
                2 => connection.execute("REPLACE INTO rows VALUES (?1, ?2)", (number, text)),
                _ => connection.execute("REPLACE INTO keyed VALUES (?1, ?2)", (text, number)),
            }
            .expect("done");
        }
        connection.execute_batch("COMMIT").expect("committed");
        std::fs::read(path).expect("read")
    }

    /// Mutant: a page whose parts overlap is taken for one of rows.
    #[test]
    fn what_belongs_to_no_row_can_be_anything_and_all_rows_are_as_they_were() {
        for page_bytes in [512, 4096, 65536] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("db");
            let mut bytes = file(page_bytes, &path);
            let all = |path: &std::path::Path| {
                let connection = Connection::open(path).expect("opens");
                let whole: String = connection
                    .query_row("SELECT group_concat(integrity_check) FROM pragma_integrity_check", [], |row| row.get(0))
                    .expect("read");
                assert_eq!(whole, "ok", "pages of {page_bytes}");
                let sql =
                    "SELECT group_concat(number || text) || (SELECT group_concat(number || text) FROM keyed) FROM rows";
                connection.query_row(sql, [], |row| row.get::<_, String>(0)).expect("read")
            };
            let before = all(&path);
            let has_rows = |page: &[u8]| matches!(page[0], 2 | 5 | 10 | 13);
            let (mut with_rows, mut parsed, mut blocks) = (0, 0, 0);
            // The first page has a head of the file.
            for page in bytes.chunks_mut(page_bytes).skip(1) {
                with_rows += usize::from(has_rows(page));
                let Some(unused) = unused(page) else { continue };
                parsed += 1;
                for part in unused {
                    blocks += part.len();
                    page[part].fill(0xff);
                }
            }
            assert!(with_rows > 5 && blocks > page_bytes, "{with_rows} pages, {blocks} bytes");
            assert_eq!(parsed, with_rows, "pages of {page_bytes}");
            std::fs::write(&path, bytes).expect("written");
            assert!(all(&path) == before);
        }
    }

    #[test]
    fn whatever_a_page_says_no_row_that_it_has_is_unused() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = file(512, &folder.path().join("db"));
        let mut random = fastrand::Rng::with_seed(15);
        let mut refused = 0;
        for page in bytes.chunks(512).skip(1).filter(|page| unused(page).is_some()) {
            for _ in 0..20 {
                let mut damaged = page.to_vec();
                damaged[random.usize(..40)] = random.u8(..);
                let Some(unused) = unused(&damaged) else {
                    refused += 1;
                    continue;
                };
                let mut before = 0;
                for part in unused.iter().filter(|part| !part.is_empty()) {
                    assert!(part.start >= 8 && part.end <= 512 && part.start >= before, "{unused:?}");
                    before = part.end;
                }
            }
            assert_eq!(unused(&page[..page.len() - 1]), None, "part of a page");
        }
        assert!(refused > 1000, "{refused}");
        assert_eq!(unused(&[]), None);
    }
}
