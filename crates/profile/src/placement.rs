//! Where a process runs.

use crate::string_table::StringHandle;

/// Where a process runs: what its control group, and the files of whoever has made that, say of it.
///
/// Each is `None` when it does not apply or is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Placement {
    /// The path of its control group, from the root of the machine's hierarchy: `/system.slice/ssh.service`.
    pub cgroup: Option<StringHandle>,
    /// The systemd unit: `ssh.service`, `session-2.scope`.
    pub unit: Option<StringHandle>,
    /// The container's whole ID, or the name that stands for it where there is no ID (LXC, systemd-nspawn).
    pub container_id: Option<StringHandle>,
    /// The container's name; in a pod, the name that the pod gives it.
    pub container_name: Option<StringHandle>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `systemd-nspawn`.
    pub container_runtime: Option<StringHandle>,
    /// The image that the container was made from.
    pub container_image: Option<StringHandle>,
    /// The Kubernetes pod's name.
    pub pod: Option<StringHandle>,
    /// Its namespace.
    pub pod_namespace: Option<StringHandle>,
    /// Its UID.
    pub pod_uid: Option<StringHandle>,
    /// Its class of service: `guaranteed`, `burstable`, `besteffort`.
    pub pod_qos: Option<StringHandle>,
}

impl Placement {
    /// Each field's name, as formats call it.
    pub const FIELDS: [&'static str; 10] = [
        "cgroup",
        "unit",
        "container_id",
        "container_name",
        "container_runtime",
        "container_image",
        "pod",
        "pod_namespace",
        "pod_uid",
        "pod_qos",
    ];

    /// Every field, in the order of [`Self::FIELDS`].
    #[must_use]
    pub fn to_array(self) -> [Option<StringHandle>; 10] {
        let Self {
            cgroup,
            unit,
            container_id,
            container_name,
            container_runtime,
            container_image,
            pod,
            pod_namespace,
            pod_uid,
            pod_qos,
        } = self;
        [
            cgroup,
            unit,
            container_id,
            container_name,
            container_runtime,
            container_image,
            pod,
            pod_namespace,
            pod_uid,
            pod_qos,
        ]
    }

    /// From every field, in the order of [`Self::FIELDS`].
    #[must_use]
    pub fn from_array(fields: [Option<StringHandle>; 10]) -> Self {
        let [
            cgroup,
            unit,
            container_id,
            container_name,
            container_runtime,
            container_image,
            pod,
            pod_namespace,
            pod_uid,
            pod_qos,
        ] = fields;
        Self {
            cgroup,
            unit,
            container_id,
            container_name,
            container_runtime,
            container_image,
            pod,
            pod_namespace,
            pod_uid,
            pod_qos,
        }
    }

    /// What is known, each with its field's name.
    pub fn known(self) -> impl Iterator<Item = (&'static str, StringHandle)> {
        Self::FIELDS
            .into_iter()
            .zip(self.to_array())
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// The same with another handle for each.
    ///
    /// # Errors
    ///
    /// The first error of `convert`.
    pub fn try_map<E>(
        self,
        mut convert: impl FnMut(StringHandle) -> Result<StringHandle, E>,
    ) -> Result<Self, E> {
        let mut fields = self.to_array();
        for field in fields.iter_mut().flatten() {
            *field = convert(*field)?;
        }
        Ok(Self::from_array(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::string_table::StringTable;

    #[test]
    fn every_field_keeps_its_name_and_place() {
        let mut strings = StringTable::default();
        let placement =
            Placement::from_array(Placement::FIELDS.map(|name| Some(strings.intern(name))));
        assert_eq!(Placement::from_array(placement.to_array()), placement);
        for (name, value) in placement.known() {
            assert_eq!(strings.find(value), Some(name));
        }
        for (field, name) in [
            (placement.cgroup, "cgroup"),
            (placement.container_runtime, "container_runtime"),
            (placement.pod_namespace, "pod_namespace"),
            (placement.pod_qos, "pod_qos"),
        ] {
            assert_eq!(field.and_then(|field| strings.find(field)), Some(name));
        }
        assert_eq!(Placement::default().known().count(), 0);
    }
}
