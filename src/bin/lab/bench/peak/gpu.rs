//! Peak of a GPU: `tests/bench/peak.wgsl` through wgpu, beside burn's own device on the same adapter.

use burn::tensor::wgpu::wgpu;
use std::time::Instant;
use wgpu::util::DeviceExt;

const SHADER: &str = include_str!("../../../../../tests/bench/peak.wgsl");
/// Entry points and the multiply-adds of one pass of their loop.
const FORMS: [(&str, u64); 4] = [
    ("fused_narrow", 16),
    ("plain_narrow", 16),
    ("fused_wide", 32),
    ("plain_wide", 32),
];
/// Units a dispatch: enough for every GPU, and few enough to be short on one in software.
const UNITS: u32 = 1 << 18;
const WORKGROUP: u32 = 64;
/// Dispatches are lengthened until they take so long, in seconds.
const LONG_ENOUGH: f64 = 0.2;

/// A device of its own and the four shaders.
pub(super) struct Peak {
    device: wgpu::Device,
    queue: wgpu::Queue,
    module: wgpu::ShaderModule,
}

impl Peak {
    pub(super) fn open() -> Result<Self, Box<dyn std::error::Error>> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let wanted = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = pollster::block_on(instance.request_adapter(&wanted))?;
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(SHADER.into()),
        });
        Ok(Self {
            device,
            queue,
            module,
        })
    }

    /// GFLOPS (a multiply-add counts two) of the fastest form.
    pub(super) fn measure(&self) -> Result<f64, Box<dyn std::error::Error>> {
        let mut best = 0.0_f64;
        for (form, macs) in FORMS {
            let mut loops = 64;
            let rate = loop {
                let seconds = self.dispatch(form, loops)?;
                if seconds >= LONG_ENOUGH || loops >= 1 << 24 {
                    break 2.0 * f64::from(UNITS) * (macs * u64::from(loops)) as f64 / seconds / 1e9;
                }
                loops *= 4;
            };
            best = best.max(rate);
        }
        Ok(best)
    }

    /// Seconds of one dispatch, its second run: the first compiles.
    fn dispatch(&self, form: &str, loops: u32) -> Result<f64, Box<dyn std::error::Error>> {
        let pipeline = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &self.module,
                entry_point: Some(form),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &[("loops", f64::from(loops))],
                    ..Default::default()
                },
                cache: None,
            });
        let start: Vec<u8> = [0.999_f32, 0.001].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut contents = vec![0; 4 * (2 + UNITS as usize)];
        contents[..start.len()].copy_from_slice(&start);
        let io = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: &contents,
            usage: wgpu::BufferUsages::STORAGE,
        });
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: io.as_entire_binding(),
            }],
        });
        let mut seconds = 0.0;
        for _ in 0..2 {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(UNITS / WORKGROUP, 1, 1);
            drop(pass);
            let start = Instant::now();
            self.queue.submit([encoder.finish()]);
            self.device.poll(wgpu::PollType::wait_indefinitely())?;
            seconds = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }
}
