//! The price book against the catalogue that it is built from.

use std::path::PathBuf;
use std::process::Command;

use tollgate::domain::money::Rate;
use tollgate::domain::price::{Book, Bucket};

/// The catalogue, or `None` after saying that a test was not run.
fn catalogue() -> Option<PathBuf> {
    let found = std::env::var_os("TOLLGATE_DATA").map(|folder| PathBuf::from(folder).join("prices.json"));
    let found = found.filter(|path| path.exists());
    if found.is_none() {
        println!("not run: TOLLGATE_DATA names no folder with prices.json");
    }
    found
}

#[test]
fn every_standard_price_is_the_catalogues() {
    let Some(path) = catalogue() else { return };
    let catalogue: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let book = Book::builtin();
    let (mut compared, mut dropped) = (0, 0);
    for model in catalogue["models"].as_array().unwrap() {
        let (provider, id) = (model["provider"].as_str().unwrap(), model["id"].as_str().unwrap());
        let Some(known) = book.find(provider, None, id).filter(|known| known.id() == id) else {
            dropped += 1;
            continue;
        };
        for bucket in Bucket::ALL {
            let expected = model["prices"][bucket.name()].as_str().map(|price| Rate::per_million(price).unwrap());
            assert_eq!(known.row().standard().get(bucket), expected, "{provider}/{id} {}", bucket.name());
        }
        assert_eq!(known.max_output(), model["max_output"].as_u64(), "{provider}/{id}");
        assert_eq!(known.context_window(), model["context_window"].as_u64(), "{provider}/{id}");
        compared += 1;
    }
    // Rented capacity, image sizes and containers: described in config/build/prices.py.
    assert_eq!((compared, dropped), (1709, 88));
}

#[test]
fn the_book_is_what_its_script_makes_of_the_catalogue() {
    let Some(path) = catalogue() else { return };
    let folder = tempfile::tempdir().unwrap();
    let built = folder.path().join("prices.json");
    let ran = Command::new("python3").arg("config/build/prices.py").arg(path).arg(&built).status();
    let Ok(status) = ran else {
        println!("not run: there is no python3");
        return;
    };
    assert!(status.success());
    assert_eq!(std::fs::read(built).unwrap(), std::fs::read("config/prices.json").unwrap());
}
