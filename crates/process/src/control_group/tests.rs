use super::*;
use Runtime::{Containerd, CriO, Docker, Lxc, Nspawn, Podman};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const UID: &str = "6f1c2a3b-4d5e-6f70-8192-a3b4c5d6e7f8";
const UID_IN_SLICES: &str = "6f1c2a3b_4d5e_6f70_8192_a3b4c5d6e7f8";

/// `ID`, `OTHER`, `UID` and `SLICE` stand for those above.
fn describe(shape: &str) -> ControlGroup {
    let path = shape
        .replace("OTHER", OTHER)
        .replace("UID", UID)
        .replace("SLICE", UID_IN_SLICES)
        .replace("ID", ID);
    parse_control_group(format!("0::{path}\n").as_bytes())
}

#[test]
fn containers_of_every_runtime_are_found() {
    for (shape, runtime) in [
        ("/docker/ID", Some(Docker)),
        ("/system.slice/docker-ID.scope", Some(Docker)),
        ("/system.slice/docker-ID.scope/init.scope", Some(Docker)),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
            Some(Docker),
        ),
        ("/actions_job/ID", Some(Docker)),
        ("/ecs/shop/ID", None),
        ("/system.slice/nerdctl-ID.scope", Some(Containerd)),
        ("/default/ID", Some(Containerd)),
        ("/machine.slice/libpod-ID.scope", Some(Podman)),
        ("/machine.slice/libpod-ID.scope/container", Some(Podman)),
        (
            "/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope/container",
            Some(Podman),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            Some(Podman),
        ),
        ("/libpod_parent/libpod-ID", Some(Podman)),
        ("/system.slice/crio-ID.scope", Some(CriO)),
        ("/../../system.slice/docker-ID.scope", Some(Docker)),
    ] {
        let group = describe(shape);
        let expected = Container {
            id: ID.to_owned(),
            runtime,
        };
        assert_eq!(group.container, Some(expected), "{shape}");
        assert_eq!((group.pod, group.unit), (None, None), "{shape}");
    }
}

const PODS: &[(&str, &str, Option<Runtime>)] = &[
    ("/kubepods/podUID/ID", "guaranteed", None),
    ("/kubepods/burstable/podUID/ID", "burstable", None),
    (
        "/kubepods/besteffort/podUID/crio-ID",
        "besteffort",
        Some(CriO),
    ),
    (
        "/kubepods.slice/kubepods-podSLICE.slice/cri-containerd-ID.scope",
        "guaranteed",
        Some(Containerd),
    ),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSLICE.slice/cri-containerd-ID.scope",
        "burstable",
        Some(Containerd),
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSLICE.slice/crio-ID.scope/container",
        "besteffort",
        Some(CriO),
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSLICE.slice/docker-ID.scope",
        "besteffort",
        Some(Docker),
    ),
    (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podSLICE.slice/cri-containerd-ID.scope",
        "burstable",
        Some(Containerd),
    ),
    ("/kubelet/kubepods/burstable/podUID/ID", "burstable", None),
    (
        "/system.slice/containerd.service/kubepods-burstable-podSLICE.slice:cri-containerd:ID",
        "burstable",
        Some(Containerd),
    ),
    (
        "/../../../kubepods-burstable-podSLICE.slice/cri-containerd-ID.scope",
        "burstable",
        Some(Containerd),
    ),
];

#[test]
fn pods_of_every_driver_and_class_are_found() {
    for &(shape, qos, runtime) in PODS {
        let group = describe(shape);
        assert_eq!(
            group.pod,
            Some(Pod {
                uid: UID.to_owned(),
                qos
            }),
            "{shape}"
        );
        assert_eq!(
            group.container,
            Some(Container {
                id: ID.to_owned(),
                runtime
            }),
            "{shape}"
        );
        assert_eq!(group.unit, None, "{shape}");
    }
    let of_the_node = describe("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/ID");
    assert_eq!(
        of_the_node.pod.map(|pod| pod.uid).as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
}

#[test]
fn containers_with_names_are_found() {
    for (path, name, runtime) in [
        ("/lxc/web", "web", Lxc),
        ("/lxc/101/ns/system.slice/ssh.service", "101", Lxc),
        ("/lxc.payload.web-1/init.scope", "web-1", Lxc),
        ("/lxc.payload/web", "web", Lxc),
        (
            "/machine.slice/systemd-nspawn@deb.service/payload",
            "deb",
            Nspawn,
        ),
        (
            r"/machine.slice/machine-my\x2dbox.scope/payload/system.slice",
            "my-box",
            Nspawn,
        ),
        (
            "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567",
            "0123456789abcdef0123456789abcdef-1234567",
            Docker,
        ),
    ] {
        let expected = Container {
            id: name.to_owned(),
            runtime: Some(runtime),
        };
        assert_eq!(describe(path).container, Some(expected), "{path}");
    }
}

#[test]
fn units_of_systemd_are_found() {
    for (path, unit) in [
        ("/system.slice/ssh.service", "ssh.service"),
        (
            "/user.slice/user-1000.slice/session-2.scope",
            "session-2.scope",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-code.scope",
            "app-code.scope",
        ),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            "postgresql@15-main.service",
        ),
        ("/init.scope", "init.scope"),
        ("/user.slice", "user.slice"),
        (
            r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator",
            r"machine-qemu\x2d1\x2dvm.scope",
        ),
        // The monitor of a container is the machine's own process.
        (
            "/machine.slice/libpod-conmon-ID.scope",
            "libpod-conmon-ID.scope",
        ),
        ("/system.slice/crio-conmon-ID.scope", "crio-conmon-ID.scope"),
    ] {
        let group = describe(path);
        assert_eq!(group.unit, Some(unit.replace("ID", ID)), "{path}");
        assert_eq!((group.container, group.pod), (None, None), "{path}");
    }
}

#[test]
fn what_a_container_claims_of_containers_in_it_is_not_believed() {
    let path =
        "/system.slice/docker-ID.scope/kubepods.slice/kubepods-podSLICE.slice/crio-OTHER.scope";
    let group = describe(path);
    assert_eq!(
        group.container.map(|container| container.id).as_deref(),
        Some(ID)
    );
    assert_eq!(group.pod, None);
}

#[test]
fn the_hierarchy_that_is_in_use_is_taken() {
    let first_version = format!(
        "12:pids:/docker/{ID}\n2:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n"
    );
    let group = parse_control_group(first_version.as_bytes());
    assert_eq!(group.path, format!("/docker/{ID}"));
    let hybrid = b"5:memory:/user.slice\n1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service\n";
    assert_eq!(
        parse_control_group(hybrid).unit.as_deref(),
        Some("b.service")
    );
    assert_eq!(parse_control_group(b"0::/\n").path, "/");
    assert_eq!(
        parse_control_group(b"0::/system.slice/a:b.service\n")
            .unit
            .as_deref(),
        Some("a:b.service")
    );
}

/// As containerd with the driver "cgroupfs" leaves them on a machine with both versions.
#[test]
fn a_container_in_one_of_two_versions_is_found() {
    let text = format!(
        "12:pids:/kubepods/burstable/pod6d8a5e6b-7c1f-4c5e-9d9b-2f2d3c4b5a69/{ID}\n3:cpu,cpuacct:/kubepods/burstable/pod6d8a5e6b-7c1f-4c5e-9d9b-2f2d3c4b5a69/{ID}\n1:name=systemd:/kubepods/burstable/pod6d8a5e6b-7c1f-4c5e-9d9b-2f2d3c4b5a69/{ID}\n0::/system.slice/containerd.service\n"
    );
    let group = parse_control_group(text.as_bytes());
    assert_eq!(group.container.unwrap().id, ID);
    assert_eq!(group.pod.unwrap().qos, "burstable");
    assert_eq!(group.unit, None);
    // Only a controller has it.
    let text =
        format!("4:memory:/docker/{ID}\n1:name=systemd:/system.slice/docker.service\n0::/\n");
    let group = parse_control_group(text.as_bytes());
    assert_eq!(group.path, format!("/docker/{ID}"));
    // Who is in no container stays where systemd has it.
    let text = b"4:memory:/a/b\n1:name=systemd:/system.slice/a.service\n";
    assert_eq!(parse_control_group(text).unit.as_deref(), Some("a.service"));
}

#[test]
fn hostile_paths_are_no_containers() {
    for path in [
        String::new(),
        "/".repeat(100_000),
        format!("/docker/{}", ID.to_uppercase()),
        format!("/docker/{ID}0"),
        format!("/x-{ID}.scope"),
        "/kubepods/pod../x".to_owned(),
        "/kubepods.slice/kubepods-podx.slice".to_owned(),
        "/lxc.payload.".to_owned(),
        "/machine.slice/systemd-nspawn@.service".to_owned(),
        "/pod/ü".repeat(5000),
        r"/\x\xzz\x2".to_owned(),
    ] {
        let group = parse_control_group(format!("0::{path}").as_bytes());
        assert_eq!((group.container, group.pod), (None, None), "{path:.80}");
        assert!(group.path.len() <= PATH_BYTES);
    }
    assert_eq!(
        parse_control_group(b"\xff\xff:\xff"),
        ControlGroup::default()
    );
    assert_eq!(unescape(r"a\x2db\xzz\x"), r"a-b\xzz\x");
}

#[test]
fn the_control_group_of_this_process_is_read() {
    let own = read_control_group(Pid(std::process::id())).unwrap();
    assert!(own.path.starts_with('/'), "{own:?}");
}
