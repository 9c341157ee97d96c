//! Small values from the front of the fuzzer's bytes.

/// What is left of the input. Where nothing is left, numbers are zero and bytes are none: every input means something.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Up to `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number of bytes, and so many bytes.
    pub fn counted(&mut self) -> &'a [u8] {
        let count = usize::from(self.u8());
        self.bytes(count)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    /// A number.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A number, little-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A number, little-endian.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number, little-endian.
    pub fn f64(&mut self) -> f64 {
        f64::from_le_bytes(self.array())
    }

    /// Any finite number.
    pub fn finite(&mut self) -> f64 {
        let value = self.f64();
        if value.is_finite() { value } else { 1.0 }
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    /// Text: bytes that are no UTF-8 are replaced.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.counted()).into_owned()
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Damages `bytes`: each step of the input overwrites a run somewhere, cuts the end off, or puts bytes between.
pub fn damage(bytes: &mut Vec<u8>, mut steps: Input<'_>) {
    while !steps.is_empty() && !bytes.is_empty() {
        let (how, at) = (steps.u8(), usize::from(steps.u16()));
        // From the front and from the end: headers are at one, footers at the other.
        let at = if how & 1 == 0 { at % bytes.len() } else { bytes.len() - 1 - at % bytes.len() };
        match how >> 1 & 3 {
            0 => bytes[at] ^= steps.u8(),
            1 => {
                let run = steps.counted();
                for (place, byte) in bytes[at..].iter_mut().zip(run) {
                    *place = *byte;
                }
            }
            2 => bytes.truncate(at),
            _ => {
                let run = steps.counted();
                bytes.splice(at..at, run.iter().copied());
            }
        }
    }
}
