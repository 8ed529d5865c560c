//! Activations of layers, number by number, and what they let through of gradients.

use crate::losses::exp;
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// A function by name. Each takes 0 to 0, so that padding stays zero, and its slope follows from its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x.
    Identity,
    /// max(x, 0).
    Relu,
    /// (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).
    Tanh,
}

/// Every number becomes its function.
pub fn activate(simd: Simd, activation: Activation, numbers: &mut [f32]) {
    match activation {
        Activation::Identity => (),
        Activation::Relu => simd.run(Each(Relu, numbers)),
        Activation::Tanh => simd.run(Each(Tanh, numbers)),
    }
}

/// Gradients by values y = f(x) become those by x: each times f'(x), of ReLU at 0 none.
///
/// # Panics
/// Where there are not as many values as gradients.
pub fn deactivate(simd: Simd, activation: Activation, values: &[f32], gradients: &mut [f32]) {
    assert_eq!(values.len(), gradients.len(), "a value a gradient");
    match activation {
        Activation::Identity => (),
        Activation::Relu => simd.run(Back(Relu, values, gradients)),
        Activation::Tanh => simd.run(Back(Tanh, values, gradients)),
    }
}

/// An activation as a type: loops are compiled for each.
trait Function: Copy {
    fn of(self, x: f32) -> f32;
    /// A gradient by a value, as one by what the value is of.
    fn back(self, value: f32, gradient: f32) -> f32;
}

#[derive(Clone, Copy)]
struct Relu;
#[derive(Clone, Copy)]
struct Tanh;

impl Function for Relu {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        if x > 0.0 { x } else { 0.0 }
    }

    #[inline(always)]
    fn back(self, value: f32, gradient: f32) -> f32 {
        if value > 0.0 { gradient } else { 0.0 }
    }
}

impl Function for Tanh {
    /// Near 0 by a polynomial in x² (Moshier's Cephes, `tanhf`), where 1 − 2 / (e²ˣ + 1) would lose digits.
    #[inline(always)]
    #[allow(clippy::excessive_precision, reason = "the digits as published")]
    fn of(self, x: f32) -> f32 {
        const COEFFICIENTS: [f32; 5] = [
            -5.704_988_727_45e-3,
            2.063_908_879_54e-2,
            -5.373_971_555_31e-2,
            1.333_144_220_36e-1,
            -3.333_328_194_22e-1,
        ];
        let size = x.abs();
        if size < 0.625 {
            let square = x * x;
            let mut series = 0.0_f32;
            for c in COEFFICIENTS {
                series = series.mul_add(square, c);
            }
            (series * square).mul_add(x, x)
        } else {
            let value = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
            if x < 0.0 { -value } else { value }
        }
    }

    #[inline(always)]
    fn back(self, value: f32, gradient: f32) -> f32 {
        gradient * (-value).mul_add(value, 1.0)
    }
}

struct Each<'a, F>(F, &'a mut [f32]);

impl<F: Function> Kernel for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for x in self.1 {
            *x = self.0.of(*x);
        }
    }
}

struct Back<'a, F>(F, &'a [f32], &'a mut [f32]);

impl<F: Function> Kernel for Back<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (&value, gradient) in self.1.iter().zip(self.2) {
            *gradient = self.0.back(value, *gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 3] = [Activation::Identity, Activation::Relu, Activation::Tanh];

    fn exact(activation: Activation, x: f64) -> (f64, f64) {
        match activation {
            Activation::Identity => (x, 1.0),
            Activation::Relu => (x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
            Activation::Tanh => (x.tanh(), 1.0 - x.tanh() * x.tanh()),
        }
    }

    #[test]
    fn values_and_slopes_are_those_of_f64_and_the_same_bits_everywhere() {
        let line = (-4000_i16..=4000).map(|i| f32::from(i) * 0.0025);
        let numbers: Vec<f32> = line.chain([-200.0, -0.0, 1e-9, 200.0]).collect();
        for activation in ALL {
            let run = |simd| {
                let (mut values, mut slopes) = (numbers.clone(), vec![1.0; numbers.len()]);
                activate(simd, activation, &mut values);
                deactivate(simd, activation, &values, &mut slopes);
                (values, slopes)
            };
            let (values, slopes) = run(Simd::PORTABLE);
            for simd in Simd::available() {
                let bits =
                    |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let found = run(simd);
                assert_eq!(bits(&found.0), bits(&values), "{simd}");
                assert_eq!(bits(&found.1), bits(&slopes), "{simd}");
            }
            for ((&x, &value), &slope) in numbers.iter().zip(&values).zip(&slopes) {
                let (y, by) = exact(activation, f64::from(x));
                assert!(
                    (f64::from(value) - y).abs() <= 3e-7 * y.abs(),
                    "{activation:?} {x}: {value}"
                );
                assert!(
                    (f64::from(slope) - by).abs() <= 3e-7,
                    "{activation:?} {x}: {slope}"
                );
            }
        }
    }
}
