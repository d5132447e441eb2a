//! Conversions that are broken off and gone on with.

use std::path::Path;

use stablelm_checkpoint::{JOURNAL_FILE, Journal, JournalError, Target, convert, plan};

use crate::support::{copy_folder, neox, open_at, options, oracle, safetensors};

fn bytes_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().unwrap() != JOURNAL_FILE {
                let name = path.to_string_lossy().into_owned();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn relative(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let root = folder.to_string_lossy().into_owned();
    let files = bytes_of(folder).into_iter();
    files
        .map(|(name, bytes)| (name.replace(&root, ""), bytes))
        .collect()
}

#[test]
fn a_conversion_broken_off_anywhere_ends_in_the_same_bytes() {
    let Some(variant) = oracle("neox/a_w123_pp1_tp2_bf16") else {
        return;
    };
    let input = open_at(&variant.join("checkpoint"));
    let sharded = options(Target::Safetensors {
        max_shard_size: 50_000,
    });
    for options in [sharded, neox(4)] {
        let plan = plan(&input, &options).unwrap();
        let whole = tempfile::tempdir().unwrap();
        let journal = Journal::open(whole.path(), &plan, &input, "then").unwrap();
        let mut journal = journal.without_delay();
        let expected = convert(&plan, &input, whole.path(), Some(&mut journal)).unwrap();
        assert!(journal.files().count() > 5);
        let record = std::fs::read(whole.path().join(JOURNAL_FILE)).unwrap();
        // The record as it was after so many bytes, and every file that it does not name damaged.
        for turn in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            copy_folder(whole.path(), folder.path());
            let len = record.len() * turn / 20;
            std::fs::write(folder.path().join(JOURNAL_FILE), &record[..len]).unwrap();
            let mut journal = Journal::open(folder.path(), &plan, &input, "now").unwrap();
            if turn > 5 {
                assert_eq!(journal.started(), "then");
            }
            let complete: Vec<_> = journal
                .files()
                .map(|file| folder.path().join(file))
                .collect();
            for (name, bytes) in bytes_of(folder.path()) {
                if !complete.iter().any(|path| path == Path::new(&name)) {
                    std::fs::write(&name, &bytes[..bytes.len() / 2]).unwrap();
                }
            }
            let found = convert(&plan, &input, folder.path(), Some(&mut journal)).unwrap();
            assert_eq!(found, expected);
            assert!(relative(folder.path()) == relative(whole.path()), "{turn}");
        }
    }
}

#[test]
fn nobody_goes_on_with_other_weights_or_options() {
    let Some(variant) = oracle("neox/a_w123_pp1_tp2_bf16") else {
        return;
    };
    let (copy, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy_folder(&variant.join("checkpoint"), copy.path());
    let input = open_at(copy.path());
    let first = plan(&input, &safetensors()).unwrap();
    // Without a complete file there is nothing to go on with, and no record.
    drop(Journal::open(folder.path(), &first, &input, "then").unwrap());
    assert!(!folder.path().join(JOURNAL_FILE).exists());
    let journal = Journal::open(folder.path(), &first, &input, "then").unwrap();
    let mut journal = journal.without_delay();
    convert(&first, &input, folder.path(), Some(&mut journal)).unwrap();
    drop(journal);
    drop(Journal::open(folder.path(), &first, &input, "then").unwrap());
    let is_other = |result: Result<Journal, JournalError>| {
        assert!(matches!(result.unwrap_err(), JournalError::Other { .. }));
    };
    let other = plan(&input, &neox(1)).unwrap();
    is_other(Journal::open(folder.path(), &other, &input, "then"));
    let path = copy.path().join("global_step4/configs/conf.yml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "\n").unwrap();
    is_other(Journal::open(
        folder.path(),
        &first,
        &open_at(copy.path()),
        "then",
    ));
}
