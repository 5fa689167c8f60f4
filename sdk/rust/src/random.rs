//! Random numbers that can be replayed.
//!
//! The generator is SplitMix64: a 64-bit counter that grows by a fixed odd number, each value of which is scrambled by
//! two rounds of xor-shift and multiplication. It has one word of state, passes the usual statistical batteries, and is
//! small enough to be read. It is not for secrets.
//!
//! A *stream* is an independent sequence under the same seed. Give every thing that is numbered (a trial, a worker) the
//! stream of its number: what it draws then depends on nothing that was drawn for others.

/// A sequence of random numbers that depends on a seed and a stream and on nothing else.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

/// The increment of the counter: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The start of a stream. The seed is scrambled before the stream is added and once more after, so that neighbouring
    /// seeds and neighbouring streams share no run of numbers.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { state: scramble(scramble(seed.wrapping_add(STEP)).wrapping_add(stream.wrapping_mul(STEP))) }
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        scramble(self.state)
    }

    /// A number of [0, 1), each of the 2^53 multiples of 2^-53 alike.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A number below `bound`, each with the same probability; 0 where `bound` is 0.
    ///
    /// The high half of a 128-bit product maps 64 bits on the range. A product whose low half is in the part that does
    /// not divide evenly is drawn again.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let uneven = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.bits()) * u128::from(bound);
            if product as u64 >= uneven {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number of the standard normal distribution (Marsaglia's polar method, one of the pair).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }
}

fn scramble(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed() {
        // A change here changes what every experiment would suggest on replay: it needs a new major version.
        let mut random = Random::new(7, 3);
        assert_eq!([random.bits(), random.bits()], FIRST_OF_SEED_7_STREAM_3);
    }
    const FIRST_OF_SEED_7_STREAM_3: [u64; 2] = [7_781_137_402_269_926_631, 8_665_992_178_726_160_025];

    #[test]
    fn the_scrambler_is_that_of_splitmix64() {
        // The first outputs of the reference implementation for the seed 1234567.
        let mut random = Random { state: 1_234_567 };
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
        assert_eq!(random.bits(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn streams_and_seeds_share_nothing() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            for stream in 0..50 {
                let mut random = Random::new(seed, stream);
                for _ in 0..10 {
                    assert!(seen.insert(random.bits()), "seed {seed}, stream {stream}");
                }
            }
        }
    }

    #[test]
    fn below_is_even() {
        let mut random = Random::new(1, 0);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        let chi_square: f64 =
            counts.iter().map(|&count| (f64::from(count) - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi_square < 20.5, "5 degrees of freedom, 0.1 %: {chi_square}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn unit_and_normal_have_their_moments() {
        let mut random = Random::new(2, 0);
        let count = 100_000;
        let (mut mean, mut normal_mean, mut normal_square) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            let unit = random.unit();
            assert!((0.0..1.0).contains(&unit));
            mean += unit / f64::from(count);
            let normal = random.normal();
            normal_mean += normal / f64::from(count);
            normal_square += normal * normal / f64::from(count);
        }
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        assert!(normal_mean.abs() < 0.015, "{normal_mean}");
        assert!((normal_square - 1.0).abs() < 0.025, "{normal_square}");
    }
}
