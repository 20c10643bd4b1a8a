use std::{
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use super::*;
use crate::parse_control_group;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "6f1c2a3b-4d5e-6f70-8192-a3b4c5d6e7f8";

/// A root folder with these files, whose owner is who runs the test.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            machine.write(path, text);
        }
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self
            .0
            .path()
            .join(path.replace("ID", ID).replace("UUU", UID));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text.replace("ID", ID)).unwrap();
    }

    fn facts(&self, path: &str) -> ContainerFacts {
        let text = format!("0::{}", path.replace("ID", ID).replace("UUU", UID));
        let owner = fs::metadata(self.0.path()).unwrap().uid();
        read_facts_below(self.0.path(), &parse_control_group(text.as_bytes()), owner)
    }
}

fn facts(runtime: Runtime, [name, image, pod, namespace]: [&str; 4]) -> ContainerFacts {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ContainerFacts {
        runtime: Some(runtime),
        name: some(name),
        image: some(image),
        pod: some(pod),
        pod_namespace: some(namespace),
    }
}

const DOCKER: &str = r#"{"StreamConfig":{},"State":{"Running":true},"ID":"ID","Name":"/shop_web_1",
    "Config":{"Hostname":"x","Image":"shop/web:1.2","Labels":{"com.docker.compose.project":"shop"}}}"#;

#[test]
fn docker_names_its_containers_also_below_another_root() {
    let expected = facts(Runtime::Docker, ["shop_web_1", "shop/web:1.2", "", ""]);
    let machine = Machine::new(&[("var/lib/docker/containers/ID/config.v2.json", DOCKER)]);
    assert_eq!(machine.facts("/docker/ID"), expected);
    assert_eq!(machine.facts("/system.slice/docker-ID.scope"), expected);
    let moved = Machine::new(&[
        ("etc/docker/daemon.json", r#"{"data-root": "/big/docker"}"#),
        ("big/docker/containers/ID/config.v2.json", DOCKER),
    ]);
    assert_eq!(moved.facts("/docker/ID"), expected);
}

#[test]
fn containers_of_pods_are_named_by_their_runtime() {
    let containerd = r#"{"ociVersion":"1.1.0","process":{"args":["python"]},"annotations":{
        "io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"web",
        "io.kubernetes.cri.image-name":"docker.io/shop/web:1.2","io.kubernetes.cri.sandbox-name":"web-7d9f-x2x",
        "io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-id":"00"}}"#;
    let crio = r#"{"annotations":{"io.kubernetes.container.name":"web","io.kubernetes.pod.name":"web-7d9f-x2x",
        "io.kubernetes.pod.namespace":"shop","io.kubernetes.cri-o.ImageName":"docker.io/shop/web:1.2"}}"#;
    let docker = r#"{"Name":"/k8s_web_web-7d9f-x2x_shop","Config":{"Image":"docker.io/shop/web:1.2","Labels":{
        "io.kubernetes.container.name":"web","io.kubernetes.pod.name":"web-7d9f-x2x","io.kubernetes.pod.namespace":"shop"}}}"#;
    for (file, text, runtime) in [
        (
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
            containerd,
            Runtime::Containerd,
        ),
        (
            "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
            containerd,
            Runtime::Containerd,
        ),
        (
            "var/lib/containers/storage/overlay-containers/ID/userdata/config.json",
            crio,
            Runtime::CriO,
        ),
        (
            "var/lib/docker/containers/ID/config.v2.json",
            docker,
            Runtime::Docker,
        ),
    ] {
        let machine = Machine::new(&[(file, text)]);
        let expected = facts(
            runtime,
            ["web", "docker.io/shop/web:1.2", "web-7d9f-x2x", "shop"],
        );
        assert_eq!(
            machine.facts("/kubepods/burstable/podUUU/ID"),
            expected,
            "{file}"
        );
    }
}

#[test]
fn podman_keeps_names_in_a_list() {
    let list = r#"[{"id":"00","names":["other"],"metadata":"{}"},
        {"id":"ID","names":["web"],"image":"11","metadata":"{\"image-name\":\"docker.io/shop/web:1.2\",\"name\":\"web\"}"}]"#;
    let folder = "var/lib/containers/storage/overlay-containers";
    let machine = Machine::new(&[
        (&format!("{folder}/containers.json"), list),
        (
            &format!("{folder}/ID/userdata/config.json"),
            r#"{"annotations":{"org.opencontainers.image.stopSignal":"15"}}"#,
        ),
    ]);
    let expected = facts(Runtime::Podman, ["web", "docker.io/shop/web:1.2", "", ""]);
    assert_eq!(
        machine.facts("/machine.slice/libpod-ID.scope/container"),
        expected
    );
}

#[test]
fn logs_of_the_kubelet_name_what_no_runtime_does() {
    let machine = Machine::new(&[
        ("var/log/containers/web-7d9f-x2x_shop_web-ID.log", ""),
        ("var/log/pods/shop_web-7d9f-x2x_UUU/web/0.log", ""),
    ]);
    let named = machine.facts("/kubepods/podUUU/ID");
    assert_eq!(named.name.as_deref(), Some("web"));
    assert_eq!(named.pod.as_deref(), Some("web-7d9f-x2x"));
    fs::remove_dir_all(machine.0.path().join("var/log/containers")).unwrap();
    let named = machine.facts("/kubepods/podUUU/ID");
    assert_eq!(
        (named.name.as_deref(), named.pod_namespace.as_deref()),
        (None, Some("shop"))
    );
}

#[test]
fn a_user_cannot_give_a_process_the_name_of_a_container_of_the_machine() {
    let file = "var/lib/docker/containers/ID/config.v2.json";
    let machine = Machine::new(&[(file, DOCKER)]);
    let nothing = ContainerFacts::default();
    let own = "/user.slice/user-1000.slice/user@1000.service/docker-ID.scope";
    assert_eq!(machine.facts(own), nothing);
    assert_eq!(machine.facts("/lxc/../../etc"), nothing);
    // Files that are not the superuser's are not believed.
    let group = parse_control_group(format!("0::/docker/{ID}").as_bytes());
    let owner = fs::metadata(machine.0.path()).unwrap().uid();
    assert_eq!(
        read_facts_below(machine.0.path(), &group, owner + 1),
        nothing
    );
    // Nor what a link leads to.
    fs::rename(machine.path(file), machine.path("elsewhere.json")).unwrap();
    symlink(machine.path("elsewhere.json"), machine.path(file)).unwrap();
    assert_eq!(machine.facts("/docker/ID"), nothing);
}

#[test]
fn hostile_files_cost_no_time_and_give_no_long_names() {
    let file = "var/lib/docker/containers/ID/config.v2.json";
    let nothing = ContainerFacts::default();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in ["", "null", "[]", "{\"Name\": 7}", "\u{0}", &deep] {
        let machine = Machine::new(&[(file, text)]);
        assert_eq!(machine.facts("/docker/ID"), nothing, "{text:.40}");
    }
    let long = format!(r#"{{"Name":"{}"}}"#, "é".repeat(100_000));
    let machine = Machine::new(&[(file, &long)]);
    assert_eq!(
        machine.facts("/docker/ID").name.map(|name| name.len()),
        Some(256)
    );
    let machine = Machine::new(&[]);
    let large = fs::File::create(machine.path(file)).unwrap();
    large.set_len(1 << 40).unwrap();
    assert_eq!(machine.facts("/docker/ID"), nothing);
    fs::remove_file(machine.path(file)).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(machine.path(file))
        .status();
    assert!(made.unwrap().success());
    let begun = Instant::now();
    assert_eq!(machine.facts("/docker/ID"), nothing);
    assert!(begun.elapsed() < Duration::from_secs(10));
}
