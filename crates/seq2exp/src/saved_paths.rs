//! Paths inside saved settings: absolute, and followed when a run and its inputs are moved or copied together.

use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use crate::experiment::DATA_FOLDER;
use crate::prepared_inputs::RecordedInputs;

/// The key of saved settings that names the folder that they were saved in.
pub(crate) const SAVED_IN: &str = "saved_in";

/// Replaces each absolute path below `settings` by what `place` makes of it, if anything.
///
/// The paths of saved settings are absolute, and nothing else in them is.
pub(crate) fn replace_paths(
    settings: &mut Value,
    place: &mut impl FnMut(&Path) -> Option<PathBuf>,
) {
    match settings {
        Value::String(text) if Path::new(text).is_absolute() => {
            if let Some(path) = place(Path::new(text)).as_deref().and_then(Path::to_str) {
                *text = path.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_paths(item, place)),
        Value::Table(fields) => fields
            .iter_mut()
            .for_each(|(_, value)| replace_paths(value, place)),
        _ => {}
    }
}

/// Follows a move or a copy: paths of settings saved in another folder than `folder` lead to the same place relative to
/// `folder`, where there is something and they lead nowhere. A path that still leads to the original does so too where
/// the copy is, by its digest, an input file of the run's prepared data set.
pub(crate) fn follow_move(settings: &mut Table, folder: &Path) {
    let Some(saved_in) = saved_in(settings).filter(|saved_in| saved_in != folder) else {
        return;
    };
    let data = folder.join(DATA_FOLDER);
    let mut recorded = RecordedInputs::of(&data);
    for (_, value) in settings.iter_mut() {
        replace_paths(value, &mut |path| {
            let moved = moved(path, &saved_in, folder).filter(|moved| moved.exists())?;
            (!path.exists() || recorded.hold(&moved)).then_some(moved)
        });
    }
    recorded.save();
}

/// Where the settings were saved, if a run saved them.
pub(crate) fn saved_in(settings: &Table) -> Option<PathBuf> {
    Some(PathBuf::from(settings.get(SAVED_IN)?.as_str()?))
}

/// What lies relative to `folder` as `path` relative to `saved_in`; nothing when the two have no folder in common.
pub(crate) fn moved(path: &Path, saved_in: &Path, folder: &Path) -> Option<PathBuf> {
    let is_same = |(a, b): &(Component, Component)| a == b;
    let common: PathBuf = path
        .components()
        .zip(saved_in.components())
        .take_while(is_same)
        .map(|(part, _)| part)
        .collect();
    // All absolute paths share the root, which says nothing of how they lie to each other.
    common.file_name()?;
    let n_up = saved_in.strip_prefix(&common).ok()?.components().count();
    let base = folder.ancestors().nth(n_up)?;
    Some(base.join(path.strip_prefix(&common).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_keeps_the_place_relative_to_the_folder() {
        for (path, saved_in, folder, expected) in [
            (
                "/a/p/data/g.fa",
                "/a/p/out/x",
                "/b/q/out/x",
                Some("/b/q/data/g.fa"),
            ),
            // The run was renamed too.
            (
                "/a/p/data/g.fa",
                "/a/p/out/x",
                "/b/q/out/y",
                Some("/b/q/data/g.fa"),
            ),
            // An input inside the run's folder, such as a random mask.
            ("/a/p/x/mask.bed", "/a/p/x", "/b/x", Some("/b/x/mask.bed")),
            (
                "/a/data/g.fa",
                "/a/p/out/x",
                "/b/q/out/x",
                Some("/b/data/g.fa"),
            ),
            // Only the root in common.
            ("/data/g.fa", "/a/p/out/x", "/b/q/out/x", None),
            // Fewer folders above the new place.
            ("/a/data/g.fa", "/a/p/out/x", "/x", None),
        ] {
            let found = moved(Path::new(path), Path::new(saved_in), Path::new(folder));
            assert_eq!(found, expected.map(PathBuf::from), "{path} of {saved_in}");
        }
    }

    #[test]
    fn follow_move_leaves_what_is_there_and_what_is_nowhere() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let new = outer.path().join("new");
        std::fs::create_dir_all(new.join("out/x")).expect("made");
        std::fs::write(new.join("genome.fa"), ">a").expect("writable");
        let old = outer.path().join("old");
        let text = |path: PathBuf| path.display().to_string();
        let mut settings: Table = toml::toml! { name = "x" seeds = [2] };
        settings.insert(SAVED_IN.to_string(), text(old.join("out/x")).into());
        let there = text(new.join("genome.fa"));
        let data: Value = toml::Value::Array(vec![
            text(old.join("genome.fa")).into(),
            text(old.join("lost.bw")).into(),
            there.clone().into(),
        ]);
        settings.insert("data".to_string(), data);
        follow_move(&mut settings, &new.join("out/x"));
        let expected = [there.clone(), text(old.join("lost.bw")), there];
        assert_eq!(
            settings["data"],
            Value::try_from(expected).expect("strings")
        );
    }
}
