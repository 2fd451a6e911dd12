//! The graphics adapters of this machine, through Vulkan, on a Mac through Metal, and through CUDA where built in.

use std::sync::{Mutex, PoisonError};

use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{Device, DeviceKind, read_sync};

use super::{Adapter, AdapterKind};

/// The one interface asked, never another in its place: the automatic choice would fall through to OpenGL in software.
const API: (WgpuBackend, wgpu::Backend) = if cfg!(target_os = "macos") {
    (WgpuBackend::Metal, wgpu::Backend::Metal)
} else {
    (WgpuBackend::Vulkan, wgpu::Backend::Vulkan)
};
/// Launches that an integrated graphics processor is handed at a time. It draws the screen as well, and drivers end what keeps it
/// from that for seconds, which 32 launches, the runtime's own choice, may where each takes a tenth.
const INTEGRATED_LAUNCHES: usize = 8;
/// The runtime's own setting of that number, which goes before ours.
const LAUNCHES_VARIABLE: &str = "CUBECL_WGPU_MAX_TASKS";
/// Name of the CUDA interface in [`Adapter::api`].
const CUDA: &str = "CUDA";

/// Every adapter this build can reach, graphics processors first, those through CUDA before all.
pub fn adapters() -> Option<Vec<Adapter>> {
    let (_, backend) = API;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: backend.into(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let found = read_sync(instance.enumerate_adapters(backend.into()));
    let described = found.iter().filter_map(|adapter| {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            // An adapter that does not say what it is cannot be asked for by kind.
            wgpu::DeviceType::Other => return None,
        };
        Some((info.name, kind, format!("{backend:?}")))
    });
    let described = cuda_adapters().into_iter().chain(described);
    let mut adapters: Vec<Adapter> = Vec::new();
    for (name, kind, api) in described {
        let place = adapters
            .iter()
            .filter(|other| other.kind == kind && other.api == api)
            .count();
        adapters.push(Adapter {
            number: 0,
            name,
            kind,
            api,
            place,
        });
    }
    // The runtime reaches only the first adapter in software.
    adapters.retain(|adapter| adapter.kind != AdapterKind::Software || adapter.place == 0);
    adapters.sort_by_key(|adapter| adapter.kind == AdapterKind::Software);
    for (number, adapter) in adapters.iter_mut().enumerate() {
        adapter.number = number;
    }
    Some(adapters)
}

#[cfg(feature = "cuda")]
fn cuda_adapters() -> Vec<(String, AdapterKind, String)> {
    // Asking a card for its name would start it, and every card of a machine takes memory and seconds.
    let n_devices = Device::enumerate(burn::tensor::DeviceType::Cuda)
        .into_vec()
        .len();
    (0..n_devices)
        .map(|place| {
            let name = format!("NVIDIA card {place}");
            (name, AdapterKind::Discrete, CUDA.to_string())
        })
        .collect()
}

#[cfg(not(feature = "cuda"))]
fn cuda_adapters() -> Vec<(String, AdapterKind, String)> {
    Vec::new()
}

/// Starts an adapter, or hands out what an earlier call started: a runtime starts once in a process.
///
/// # Errors
/// The driver's reason.
pub(super) fn open(adapter: &Adapter) -> Result<Device, String> {
    static STARTED: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());
    // A panic while starting leaves the list as it was.
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, device)) = started.iter().find(|(number, _)| *number == adapter.number) {
        return Ok(device.clone());
    }
    let device = start(adapter)?;
    started.push((adapter.number, device.clone()));
    Ok(device)
}

/// Starts a card through CUDA, whose runtime panics where a driver is too old or broken.
#[cfg(feature = "cuda")]
fn start_cuda(place: usize) -> Result<Device, String> {
    let started = std::panic::catch_unwind(|| {
        let device = Device::cuda(place);
        device.sync().map(|()| device)
    });
    match started {
        Ok(device) => device.map_err(|error| error.to_string()),
        Err(_) => Err(
            "the CUDA runtime stopped as printed above; `nvidia-smi` shows whether the driver works"
                .to_string(),
        ),
    }
}

fn start(adapter: &Adapter) -> Result<Device, String> {
    #[cfg(feature = "cuda")]
    if adapter.api == CUDA {
        return start_cuda(adapter.place);
    }
    debug_assert_ne!(adapter.api, CUDA);
    let kind = match adapter.kind {
        AdapterKind::Discrete => DeviceKind::DiscreteGpu(adapter.place),
        AdapterKind::Integrated => DeviceKind::IntegratedGpu(adapter.place),
        AdapterKind::Virtual => DeviceKind::VirtualGpu(adapter.place),
        AdapterKind::Software => DeviceKind::Cpu,
    };
    let (api, _) = API;
    let mut options = Device::wgpu_options().device_kind(kind).graphics_api(api);
    if adapter.kind == AdapterKind::Integrated && std::env::var_os(LAUNCHES_VARIABLE).is_none() {
        options = options.tasks_max(INTEGRATED_LAUNCHES);
    }
    options.init().map_err(|error| error.to_string())
}
