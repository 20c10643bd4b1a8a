//! Compiles the BPF programs. The only place that calls clang.

use std::{env, path::Path, process::Command};

use anyhow::{Context, Result, bail};

/// The newest first; any of them compiles the programs to the same instructions that the kernel tests load.
const COMPILERS: &[&str] = &[
    "clang-19", "clang-20", "clang-21", "clang-18", "clang-17", "clang",
];

/// Of the sampling programs: for older kernels, and for the other clock.
const VARIANTS: [(&str, &[&str]); 2] = [
    ("before-5.15", &["-DBEFORE_5_15"]),
    ("tick", &["-DCLOCK_TICK"]),
];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=src/bpf");
    println!("cargo::rerun-if-changed=../abi/include");
    println!("cargo::rerun-if-env-changed=VIPERF_CLANG");
    let compiler = find_compiler()?;
    let folder = env::var("OUT_DIR").context("cargo sets OUT_DIR")?;
    let folder = Path::new(&folder);
    for source in ["viperf", "threads", "names", "abi"] {
        let object = folder.join(format!("{source}.bpf.o"));
        compile(&compiler, source, &[], &object)?;
    }
    for (variant, definitions) in VARIANTS {
        let object = folder.join(format!("viperf-{variant}.bpf.o"));
        compile(&compiler, "viperf", definitions, &object)?;
    }
    Ok(())
}

fn find_compiler() -> Result<String> {
    let named = env::var("VIPERF_CLANG").ok();
    let candidates = named
        .iter()
        .map(String::as_str)
        .chain(COMPILERS.iter().copied());
    for candidate in candidates {
        if Command::new(candidate)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
        {
            return Ok(candidate.to_owned());
        }
    }
    bail!(
        "no clang found to compile the BPF programs (tried {COMPILERS:?}); install it: apt-get install clang-19"
    )
}

fn compile(compiler: &str, source: &str, definitions: &[&str], object: &Path) -> Result<()> {
    let libbpf =
        env::var("DEP_BPF_INCLUDE").context("libbpf-sys says where libbpf's headers are")?;
    let output = Command::new(compiler)
        .args([
            "-g",
            "-O2",
            "-target",
            "bpf",
            "-mcpu=v3",
            "-D__TARGET_ARCH_x86",
            "-Wall",
            "-Wextra",
            "-Werror",
        ])
        // BPF_PROG makes the context parameter, used or not; libbpf's headers name types only to point to them.
        .args([
            "-Wno-unused-parameter",
            "-Wno-missing-declarations",
            "-fno-stack-protector",
        ])
        .args(definitions)
        .args(["-I", &libbpf, "-I", "../abi/include", "-c"])
        .arg(format!("src/bpf/{source}.bpf.c"))
        .arg("-o")
        .arg(object)
        .output()
        .with_context(|| format!("{compiler} could not be started"))?;
    if !output.status.success() {
        bail!(
            "{compiler} failed on src/bpf/{source}.bpf.c:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
