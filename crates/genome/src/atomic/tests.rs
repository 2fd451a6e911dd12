use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn write_atomic_success_leaves_only_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    for text in ["first", ""] {
        write_atomic(&path, |file| file.write_all(text.as_bytes())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(names(folder.path()), ["a.txt"]);
}

#[test]
fn write_atomic_failure_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "old").unwrap();
    let error = write_atomic(&path, |file| {
        file.write_all(&[b'x'; 100_000])?;
        Err(io::ErrorKind::StorageFull.into())
    })
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot write to {}", path.display()))
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["a.txt"]);
}

#[test]
fn remove_abandoned_takes_the_temporary_neighbours_of_this_file_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    // What a process leaves that is killed before it renames the file.
    std::mem::forget(AtomicFile::create(&path).unwrap());
    for other in ["a.txt", ".b.txt.x.tmp", ".a.txt.swp"] {
        std::fs::write(folder.path().join(other), "").unwrap();
    }
    assert_eq!(names(folder.path()).len(), 4);
    remove_abandoned(&path).unwrap();
    assert_eq!(
        names(folder.path()),
        [".a.txt.swp", ".b.txt.x.tmp", "a.txt"]
    );
}

#[test]
fn write_atomic_bad_place_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let bad = [
        folder.path().join("none/a.txt"),
        folder.path().to_path_buf(),
        PathBuf::from("/"),
    ];
    for path in bad {
        let error = write_atomic(&path, |_| Ok(())).unwrap_err();
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}

#[test]
fn write_atomic_relative_name_goes_to_the_working_folder() {
    let name = format!("atomic-{}.txt", std::process::id());
    write_atomic(&name, |file| file.write_all(b"x")).unwrap();
    assert_eq!(std::fs::read(&name).unwrap(), b"x");
    std::fs::remove_file(&name).unwrap();
}

#[test]
fn refuse_input_as_output_knows_a_file_by_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["a.bw", "b.bw"] {
        std::fs::write(path(name), "").unwrap();
    }
    std::fs::create_dir(path("x")).unwrap();
    let (a, b) = (path("a.bw"), path("b.bw"));
    let inputs = || [b.as_path(), a.as_path()];
    for name in ["c.bw", "x", "x/a.bw"] {
        refuse_input_as_output(&path(name), inputs()).unwrap();
    }
    refuse_input_as_output(Path::new("/dev/null"), [Path::new("/dev/null")]).unwrap();
    std::fs::hard_link(&a, path("hard")).unwrap();
    let mut others = vec!["a.bw", "x/../a.bw", "hard"];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("a.bw", path("soft")).unwrap();
        others.push("soft");
    }
    for name in others {
        let error = refuse_input_as_output(&path(name), inputs()).unwrap_err();
        let expected = format!(
            "{}: the output would replace the input {}; give the output another name",
            path(name).display(),
            a.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[cfg(unix)]
#[test]
fn write_atomic_through_links_replaces_what_they_lead_to() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("data")).unwrap();
    std::fs::write(path("data/a.txt"), "old").unwrap();
    symlink("data/a.txt", path("first")).unwrap();
    symlink(path("first"), path("second")).unwrap();
    symlink("data/new.txt", path("dangling")).unwrap();
    for (link, target) in [
        ("first", "data/a.txt"),
        ("second", "data/a.txt"),
        ("dangling", "data/new.txt"),
    ] {
        write_atomic(path(link), |file| file.write_all(link.as_bytes())).unwrap();
        assert!(path(link).is_symlink(), "{link}");
        assert!(!path(target).is_symlink(), "{link}");
        assert_eq!(std::fs::read_to_string(path(target)).unwrap(), link);
    }
    // A killed process leaves its temporary file beside the target.
    std::mem::forget(AtomicFile::create(path("second")).unwrap());
    assert_eq!(names(&path("data")).len(), 3);
    remove_abandoned(&path("second")).unwrap();
    assert_eq!(names(&path("data")), ["a.txt", "new.txt"]);
    assert_eq!(
        names(folder.path()),
        ["dangling", "data", "first", "second"]
    );

    symlink("loop", path("loop")).unwrap();
    symlink("data", path("folder")).unwrap();
    for link in ["loop", "folder"] {
        write_atomic(path(link), |_| Ok(())).unwrap_err();
        assert!(path(link).is_symlink(), "{link}");
    }
}

#[cfg(unix)]
#[test]
fn remove_older_takes_the_target_and_leaves_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.txt"), "old").unwrap();
    std::os::unix::fs::symlink("a.txt", path("link")).unwrap();
    let mut file = AtomicFile::create(path("link")).unwrap();
    file.writer().write_all(b"new").unwrap();
    file.remove_older().unwrap();
    file.remove_older().unwrap();
    assert!(!path("a.txt").exists() && path("link").is_symlink());
    file.commit().unwrap();
    assert_eq!(std::fs::read_to_string(path("a.txt")).unwrap(), "new");
}

#[cfg(target_os = "linux")]
#[test]
fn write_atomic_to_what_is_no_file_writes_through() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().unwrap();
    // Through links, so that a failing test cannot replace the devices themselves.
    for (name, is_written) in [("null", true), ("full", false)] {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(Path::new("/dev").join(name), &link).unwrap();
        let written = write_atomic(&link, |file| file.write_all(b"x"));
        assert_eq!(written.is_ok(), is_written, "{name}: {written:?}");
        let kind = std::fs::metadata(&link).unwrap().file_type();
        assert!(kind.is_char_device() && link.is_symlink(), "{name}");
    }

    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).unwrap()
    });
    write_atomic(&pipe, |file| file.write_all(b"through")).unwrap();
    assert_eq!(reader.join().unwrap(), "through");
    let kind = std::fs::metadata(&pipe).unwrap().file_type();
    assert!(kind.is_fifo());
    assert_eq!(names(folder.path()), ["full", "null", "pipe"]);
}

#[cfg(unix)]
#[test]
fn write_atomic_file_is_readable_like_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
    write_atomic(&ours, |_| Ok(())).unwrap();
    std::fs::write(&plain, "").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}
