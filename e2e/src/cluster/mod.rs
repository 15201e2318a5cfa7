//! A real single-node Kubernetes for tests: Debian's etcd, containerd and runc, Kubernetes' own programs, no registry.
//!
//! ```text
//! Cluster::up ─> cleanup (what an earlier run left) ─> network ─> keys ─> control_plane ─> node ─> dns, volumes
//!                  each program is a component: its log, its recorded process, its own readiness
//! Cluster::enter ─ runs this very program again inside the cluster's network: 127.0.0.1:6443, services and pods answer there
//! Cluster::install_images ─> images (built by buildah, imported into containerd)   Cluster::install_backends ─> S3 and NATS
//! Cluster::down ─> cleanup: processes, mounts, network, control groups; the logs stay
//! ```
//!
//! Owns: one directory with everything the cluster keeps (see [`Place`]), a network namespace and a control group named
//! after it. Two clusters in two directories do not meet. Needs root.
//! Does not own: what runs in the cluster.

mod backends;
pub mod check;
mod cleanup;
mod command;
mod component;
mod control_groups;
mod control_plane;
mod dns;
mod error;
mod image_archive;
mod image_build;
mod images;
mod keys;
mod kubectl;
mod network;
mod node;
mod place;
mod tools;
mod volumes;

use std::path::Path;
use std::time::Duration;

pub use backends::Backends;
pub use error::ClusterError;
pub use images::{OPERATOR_IMAGE, SIDECAR_IMAGE};
pub use place::Place;
pub use volumes::provision;

use component::Components;

/// A running cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    place: Place,
}

impl Cluster {
    /// Starts a cluster; what an earlier one left in `place`, crashed or not, is removed first. Builds Kubernetes' programs
    /// if this machine does not have them yet (half an hour, once).
    ///
    /// Afterwards the node is ready, names resolve, claims of the default storage class are bound. On failure everything is
    /// stopped again, and the logs stay in [`Place::logs`].
    ///
    /// # Errors
    /// The component that did not come up with the end of its log; or the command that failed with its output.
    pub async fn up(place: Place) -> Result<Self, ClusterError> {
        let _turn = place.take_turn()?;
        tools::ensure(&place).await?;
        cleanup::remove(&place).await?;
        let cluster = Self { place };
        match cluster.start().await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                // The first error is what matters; the next `up` cleans again.
                let _ = cleanup::remove(&cluster.place).await;
                Err(error)
            }
        }
    }

    /// The cluster that runs in `place`.
    ///
    /// # Errors
    /// When none does, or one of its components ended: which one, with the end of its log.
    pub fn attach(place: Place) -> Result<Self, ClusterError> {
        if !place.kubeconfig().is_file() {
            return Err(ClusterError::NotRunning(place.state));
        }
        Components::new(&place).ensure_all_run()?;
        Ok(Self { place })
    }

    /// Stops what `up` started in `place` and removes its processes, mounts, network and data. Safe to repeat; works after
    /// a crash in the middle of `up` or `down`. The logs stay.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn down(place: &Place) -> Result<(), ClusterError> {
        let _turn = place.take_turn()?;
        cleanup::remove(place).await
    }

    /// Makes this process run inside the cluster's network, by executing this program again there with the same arguments
    /// and environment. Returns at once when it already does. Call it before anything that must not happen twice.
    ///
    /// # Errors
    /// When the program cannot be executed again.
    pub fn enter(&self) -> Result<(), ClusterError> {
        network::enter(&self.place)
    }

    /// Where the cluster keeps what.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Imports the images of operator and sidecar under [`OPERATOR_IMAGE`] and [`SIDECAR_IMAGE`], made from the binaries
    /// that were built together with the running program. Binaries that did not change are not packed again.
    ///
    /// # Errors
    /// When there are no binaries, or an image cannot be built or imported.
    pub async fn install_images(&self) -> Result<(), ClusterError> {
        images::install(&self.place).await
    }

    /// Imports an image archive (`docker save` format) into the node.
    ///
    /// # Errors
    /// When the node's containerd refuses it.
    pub async fn import_image(&self, archive: &Path) -> Result<(), ClusterError> {
        images::import(&self.place, archive).await
    }

    /// Gives an imported image a second name, as if it were another version.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn tag_image(&self, image: &str, name: &str) -> Result<(), ClusterError> {
        images::tag(&self.place, image, name).await
    }

    /// The cluster's programs, each with its process id if it runs.
    ///
    /// # Errors
    /// When their records cannot be read.
    pub fn components(&self) -> Result<Vec<(String, Option<u32>)>, ClusterError> {
        Components::new(&self.place).running()
    }

    /// Starts a real S3 server and a real NATS server in the namespace `backends` and waits until they are ready. Again on
    /// running ones: changes nothing.
    ///
    /// # Errors
    /// When one does not get ready.
    pub async fn install_backends(&self) -> Result<Backends, ClusterError> {
        backends::install(self, backends::SHARED).await
    }

    /// Starts a second pair in a namespace of its own, which is made: for whoever takes them away. What their S3 server
    /// keeps stays on the node when the namespace goes.
    ///
    /// # Errors
    /// As [`Cluster::install_backends`].
    pub async fn install_backends_in(&self, namespace: &str) -> Result<Backends, ClusterError> {
        backends::install(self, namespace).await
    }

    async fn start(&self) -> Result<(), ClusterError> {
        let place = &self.place;
        place.make_directories()?;
        network::make(place).await?;
        keys::make(place).await?;
        control_groups::make(place)?;
        let components = Components::new(place);
        // The node's runtime needs nothing of the control plane: it gets its images meanwhile.
        tokio::try_join!(
            control_plane::start(self, &components),
            node::start_runtime(self, &components)
        )?;
        node::join(self, &components).await?;
        volumes::install(self, &components).await?;
        dns::install(self).await?;
        components.ensure_all_run()
    }
}

/// How long any single part may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
