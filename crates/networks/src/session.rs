//! The runtime: tensors in, tensors out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use rten::{Model, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::prelude::*;

/// A loaded network. It may be run by several threads at once.
pub(crate) struct Session {
    model: Model,
    /// Pools of one thread that nobody uses right now. Bounded by the number of lanes: a run takes one and gives it back.
    idle: Mutex<Vec<Arc<ThreadPool>>>,
}

/// An array of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

/// An array of whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ints {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<i32>,
}

/// What goes in.
pub(crate) enum Input {
    Numbers(Tensor),
    Ints(Ints),
}

impl From<Tensor> for Input {
    fn from(tensor: Tensor) -> Self {
        Self::Numbers(tensor)
    }
}

impl From<Ints> for Input {
    fn from(ints: Ints) -> Self {
        Self::Ints(ints)
    }
}

impl Input {
    fn value(self) -> Result<Value, String> {
        match self {
            Self::Numbers(Tensor { shape, data }) => Value::from_shape(shape.as_slice(), data).map_err(|error| error.to_string()),
            Self::Ints(Ints { shape, data }) => Value::from_shape(shape.as_slice(), data).map_err(|error| error.to_string()),
        }
    }
}

impl Session {
    pub(crate) fn load(bytes: Vec<u8>) -> Result<Self, String> {
        let model = guarded(|| Model::load(bytes).map_err(|error| error.to_string()))?;
        Ok(Self { model, idle: Mutex::default() })
    }

    /// The input or output of a name, or the first where the name is empty.
    fn node(&self, name: &str, all: &[NodeId], what: &str) -> Result<NodeId, String> {
        let name_of = |id: &NodeId| self.model.node_info(*id).and_then(|info| info.name().map(str::to_owned)).unwrap_or_default();
        let found = if name.is_empty() { all.first() } else { all.iter().find(|id| name_of(id) == name) };
        let names = || all.iter().map(name_of).collect::<Vec<_>>().join(", ");
        found.copied().ok_or_else(|| format!("expected {what} of the network ({}), got {name:?}", names()))
    }

    /// Whether the network has these inputs and outputs.
    pub(crate) fn check(&self, inputs: &[&str], outputs: &[&str]) -> Result<(), String> {
        for name in inputs {
            self.node(name, self.model.input_ids(), "an input")?;
        }
        for name in outputs {
            self.node(name, self.model.output_ids(), "an output")?;
        }
        Ok(())
    }

    /// Runs it on one thread: the order of sums, and so the bits, would depend on their number.
    pub(crate) fn run(&self, inputs: Vec<(&str, Input)>, outputs: &[&str]) -> Result<Vec<Tensor>, String> {
        let mut given = Vec::with_capacity(inputs.len());
        for (name, input) in inputs {
            let id = self.node(name, self.model.input_ids(), "an input")?;
            given.push((id, input.value()?.into()));
        }
        let wanted =
            outputs.iter().map(|name| self.node(name, self.model.output_ids(), "an output")).collect::<Result<Vec<_>, _>>()?;
        let pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let pool = pool.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(1)));
        let options = RunOptions::default().with_thread_pool(Some(pool.clone()));
        let values = guarded(|| self.model.run(given, &wanted, Some(options)).map_err(|error| error.to_string()));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
        values?.into_iter().map(tensor).collect()
    }
}

fn tensor(value: Value) -> Result<Tensor, String> {
    match value {
        Value::FloatTensor(tensor) => Ok(Tensor { shape: tensor.shape().to_vec(), data: tensor.to_vec() }),
        Value::Int32Tensor(tensor) => {
            Ok(Tensor { shape: tensor.shape().to_vec(), data: tensor.to_vec().into_iter().map(|value| value as f32).collect() })
        }
        _ => Err("expected an output of numbers, got another kind of value".to_owned()),
    }
}

/// A file that somebody brings may make the runtime panic: that is an error of the file, not the end of the lane.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the runtime gave up on this network".to_owned()))
}
