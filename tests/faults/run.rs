//! What a run has started ends with it, however it ends.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use crate::support::run::Guarded;
use crate::support::until;

#[test]
fn what_works_in_the_folder_of_a_run_ends_when_its_pipe_closes() {
    let run = Guarded::new();
    let (inside, folder) = (run.path().join("server"), run.path().to_owned());
    std::fs::create_dir(&inside).unwrap();
    let sleep = |folder: &std::path::Path| Command::new("sleep").arg("600").current_dir(folder).spawn().unwrap();
    let mut servers = [sleep(&inside), sleep(&folder)];
    let mut stranger = sleep(&std::env::temp_dir());
    for server in &mut servers {
        assert!(server.try_wait().unwrap().is_none(), "it ended before the run");
    }
    drop(run);
    for mut server in servers {
        let mut ended = None;
        until("it ends", || {
            ended = server.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(ended.unwrap().signal(), Some(9));
    }
    until("its folder is removed", || !folder.exists());
    assert!(stranger.try_wait().unwrap().is_none(), "it is none of the run's");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
