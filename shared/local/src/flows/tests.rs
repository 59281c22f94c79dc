#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::plugins::BUILT_IN;
use super::*;

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn flow(id: &str) -> String {
    format!("id: {id}\nnamespace: lab\ntasks:\n  - id: a\n    type: log\n    message: hello\n")
}

fn plugin(name: &str, message: &str) -> String {
    format!("type: {name}\ntask:\n  type: log\n  message: {message}\n")
}

#[test]
fn every_plugin_of_the_repository_is_in_the_binary() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../flows/plugins");
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    names.sort();
    let built_in: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, built_in);
    let (plugins, problems) = PluginFiles::built_in().load();
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(plugins.names().count(), BUILT_IN.len());
}

#[tokio::test]
async fn a_flow_is_found_below_the_directory_by_namespace_and_id() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "a.yaml", &flow("one"));
    write(root, "deep/er/b.yml", &flow("two"));
    write(root, "broken.yaml", "id: [");
    let near = root.display().to_string();
    let find = async |namespace: &'static str, id: &'static str| {
        DirectoryFlows.flow(namespace, id, None, Some(&near)).await
    };
    let (plan, place) = find("lab", "two").await.unwrap();
    assert_eq!(plan.flow, "two");
    assert_eq!(place.unwrap(), root.join("deep/er").display().to_string());
    let text = find("lab", "three").await.unwrap_err().to_string();
    assert!(text.contains("`three` in namespace `lab`"), "{text}");
    assert!(text.contains(&near), "{text}");
    assert!(find("other", "one").await.is_err());
    let lonely = DirectoryFlows.flow("lab", "one", None, None);
    assert!(lonely.await.is_err());
    let revised = DirectoryFlows.flow("lab", "one", Some(3), Some(&near));
    let text = revised.await.unwrap_err().to_string();
    assert!(
        text.contains("revision 3") && text.contains("remove `revision`"),
        "{text}"
    );
}

#[tokio::test]
async fn a_flow_that_is_wrong_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        "bad.yaml",
        "id: bad\nnamespace: lab\ntasks:\n  - id: a\n    type: nonsense\n",
    );
    let near = directory.path().display().to_string();
    let text = DirectoryFlows
        .flow("lab", "bad", None, Some(&near))
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("bad.yaml:5: "), "{text}");
}

#[test]
fn the_nearest_plugin_wins_and_the_search_ends_at_the_repository() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "plugins/far.yaml", &plugin("lab.outside", "outside"));
    write(root, "repo/.git/HEAD", "");
    write(root, "repo/plugins/a.yaml", &plugin("lab.a", "outer"));
    write(root, "repo/plugins/b.yaml", &plugin("lab.b", "outer"));
    write(root, "repo/flows/plugins/a.yaml", &plugin("lab.a", "inner"));
    write(
        root,
        "repo/flows/plugins/n.yaml",
        &plugin("genomics.nextclade", "mine"),
    );
    fs::create_dir_all(root.join("repo/flows/deep")).unwrap();
    let files = PluginFiles::near(&root.join("repo/flows/deep")).unwrap();
    let (plugins, problems) = files.load();
    assert!(problems.is_empty(), "{problems:#?}");
    let names: Vec<&str> = plugins
        .names()
        .filter(|name| name.starts_with("lab."))
        .collect();
    assert_eq!(names, ["lab.a", "lab.b"]);
    assert!(files.file_of("lab.a").unwrap().source.contains("inner"));
    assert!(
        files
            .file_of("genomics.nextclade")
            .unwrap()
            .source
            .contains("mine")
    );
}

#[test]
fn two_files_for_one_type_in_one_directory_are_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "plugins/a.yaml", &plugin("lab.a", "1"));
    write(directory.path(), "plugins/b.yaml", &plugin("lab.a", "2"));
    let (_, problems) = PluginFiles::near(directory.path()).unwrap().load();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].file.ends_with("b.yaml"));
}

#[test]
fn a_large_or_binary_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        "large.yaml",
        &"#".repeat(DOCUMENT_BYTES_MAX + 1),
    );
    fs::write(directory.path().join("binary.yaml"), [0xff, 0xfe]).unwrap();
    let large = read_document(&directory.path().join("large.yaml"));
    assert!(matches!(large, Err(FileError::TooLarge(_))), "{large:?}");
    let binary = read_document(&directory.path().join("binary.yaml"));
    assert!(matches!(binary, Err(FileError::NotText(_))), "{binary:?}");
    let missing = read_document(&directory.path().join("missing.yaml"));
    assert!(matches!(missing, Err(FileError::Io { .. })), "{missing:?}");
}
