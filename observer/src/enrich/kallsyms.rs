//! Names of kernel functions by address, from `/proc/kallsyms`. It has 200,000 lines, so only OOM kills read it.

use std::io::{BufRead, BufReader};

/// The function that each address is in; `None` if the kernel hides addresses.
#[must_use]
pub fn names(addresses: &[u64]) -> Vec<Option<String>> {
    match std::fs::File::open("/proc/kallsyms") {
        Ok(file) => look_up(BufReader::new(file), addresses),
        Err(_) => vec![None; addresses.len()],
    }
}

/// Reads the file once, and keeps the highest symbol at or below each address.
fn look_up(mut symbols: impl BufRead, addresses: &[u64]) -> Vec<Option<String>> {
    let mut best: Vec<(u64, Option<String>)> = vec![(0, None); addresses.len()];
    let mut line = String::new();
    while symbols.read_line(&mut line).is_ok_and(|n| n > 0) {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.next().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        if let (Some(address), Some("T" | "t"), Some(name)) =
            (address, fields.next(), fields.next())
        {
            for (wanted, best) in addresses.iter().zip(&mut best) {
                if address != 0 && address <= *wanted && address > best.0 {
                    *best = (address, Some(name.to_owned()));
                }
            }
        }
        line.clear();
    }
    best.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::look_up;

    #[test]
    fn the_nearest_symbol_below() {
        let symbols = "0000000000001000 T one\n0000000000003000 t three\n0000000000002000 D data\n";
        let names = look_up(symbols.as_bytes(), &[0x1fff, 0x3000, 0x10]);
        assert_eq!(names, [Some("one".to_owned()), Some("three".to_owned()), None]);
    }

    #[test]
    fn hidden_addresses_give_no_name() {
        assert_eq!(look_up("0000000000000000 T one\n".as_bytes(), &[0x10]), [None]);
    }
}
