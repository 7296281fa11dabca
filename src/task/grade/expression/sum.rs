//! Sums of products of rationals, square roots and symbols, in a form that is the same for equal sums.
//!
//! A sum is a polynomial with rational coefficients in symbols, whose exponents may be negative, over the
//! square roots of square-free numbers. These roots are linearly independent over the rationals, and a
//! symbol (a variable, pi, a root that cannot be simplified) stands for itself: two sums are equal exactly
//! where their terms are.

use super::super::Gold;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use std::collections::BTreeMap;
use std::fmt;

/// Terms of a sum at most.
const MAX_TERMS: usize = 128;
/// Bits of a numerator or denominator at most.
const MAX_BITS: u64 = 4096;
/// Exponents at most.
const MAX_EXPONENT: i64 = 10_000;
/// Roots are simplified below this; trial division ends at its square root.
const MAX_RADICAND: u64 = 10_000_000_000;

/// A product of symbols and the square root of a square-free number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Monomial {
    powers: BTreeMap<String, i64>,
    radical: u64,
}

impl Monomial {
    fn one() -> Self {
        Self {
            powers: BTreeMap::new(),
            radical: 1,
        }
    }
}

/// A sum of monomials with rational coefficients, none of them 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum(BTreeMap<Monomial, BigRational>);

impl Sum {
    /// A rational number.
    pub fn constant(value: BigRational) -> Self {
        Self::term(Monomial::one(), value)
    }

    /// A symbol.
    pub fn symbol(name: &str) -> Self {
        let powers = BTreeMap::from([(name.to_owned(), 1)]);
        Self::term(Monomial { powers, radical: 1 }, BigRational::one())
    }

    fn term(monomial: Monomial, coefficient: BigRational) -> Self {
        let mut sum = Self(BTreeMap::new());
        sum.add_term(monomial, coefficient);
        sum
    }

    fn add_term(&mut self, monomial: Monomial, coefficient: BigRational) {
        let entry = self.0.entry(monomial.clone()).or_insert_with(Zero::zero);
        *entry += coefficient;
        if entry.is_zero() {
            self.0.remove(&monomial);
        }
    }

    /// The rational number that this is.
    pub fn as_constant(&self) -> Option<BigRational> {
        match self.0.len() {
            0 => Some(Zero::zero()),
            1 => self.0.get(&Monomial::one()).cloned(),
            _ => None,
        }
    }

    pub fn negated(mut self) -> Self {
        for coefficient in self.0.values_mut() {
            *coefficient = -std::mem::take(coefficient);
        }
        self
    }

    /// The sum of two; none where it grows too large.
    pub fn plus(mut self, other: Self) -> Option<Self> {
        for (monomial, coefficient) in other.0 {
            self.add_term(monomial, coefficient);
        }
        self.capped()
    }

    /// The product of two; none where it grows too large.
    pub fn times(&self, other: &Self) -> Option<Self> {
        let mut product = Self(BTreeMap::new());
        for (a, x) in &self.0 {
            for (b, y) in &other.0 {
                let shared = gcd(a.radical, b.radical);
                let radical = (a.radical / shared).checked_mul(b.radical / shared)?;
                let mut powers = a.powers.clone();
                for (name, exponent) in &b.powers {
                    let power = powers.entry(name.clone()).or_insert(0);
                    *power += exponent;
                    if power.abs() > MAX_EXPONENT {
                        return None;
                    }
                }
                powers.retain(|_, exponent| *exponent != 0);
                let coefficient = x * y * BigRational::from_integer(shared.into());
                product.add_term(Monomial { powers, radical }, coefficient);
            }
            if product.0.len() > MAX_TERMS {
                return None;
            }
        }
        product.capped()
    }

    fn capped(self) -> Option<Self> {
        let small = |number: &BigInt| number.bits() <= MAX_BITS;
        let fits = self.0.len() <= MAX_TERMS
            && self
                .0
                .values()
                .all(|c| small(c.numer()) && small(c.denom()));
        fits.then_some(self)
    }

    /// One over this: of a single term, or of a sum of terms whose roots can be moved into the
    /// numerator so that a single term is left.
    pub fn inverse(&self) -> Option<Self> {
        if self.0.len() == 1 {
            let (monomial, coefficient) = self.0.first_key_value()?;
            let powers = monomial.powers.iter().map(|(n, e)| (n.clone(), -e));
            let inverse = Monomial {
                powers: powers.collect(),
                radical: monomial.radical,
            };
            let scale = BigRational::from_integer(monomial.radical.into());
            return Some(Self::term(inverse, (coefficient * scale).recip()));
        }
        let prime = self.0.keys().find_map(|m| smallest_factor(m.radical))?;
        // (A + B sqrt p)(A - B sqrt p) is without sqrt p.
        let mut conjugate = self.clone();
        for (monomial, coefficient) in &mut conjugate.0 {
            if monomial.radical.is_multiple_of(prime) {
                *coefficient = -std::mem::take(coefficient);
            }
        }
        let norm = self.times(&conjugate)?;
        conjugate.times(&norm.inverse()?)
    }

    /// This to a whole power.
    pub fn power(&self, exponent: i64) -> Option<Self> {
        if exponent.abs() > MAX_EXPONENT {
            return None;
        }
        let mut result = Self::constant(One::one());
        let (mut base, mut left) = (self.clone(), exponent.unsigned_abs());
        while left > 0 {
            if left % 2 == 1 {
                result = result.times(&base)?;
            }
            left /= 2;
            if left > 0 {
                base = base.times(&base)?;
            }
        }
        match exponent < 0 {
            true => result.inverse(),
            false => Some(result),
        }
    }

    /// The root of this of degree `degree`: of a rational number with whatever can be taken out of the
    /// root taken out, of anything else a symbol.
    pub fn root(&self, degree: u32) -> Option<Self> {
        if !(2..=9).contains(&degree) {
            return None;
        }
        let Some(value) = self.as_constant() else {
            return Some(Self::symbol(&format!("root{degree}({self})")));
        };
        if value.is_negative() {
            let odd = !degree.is_multiple_of(2);
            return odd
                .then(|| self.clone().negated().root(degree))?
                .map(Self::negated);
        }
        if value.is_zero() {
            return Some(self.clone());
        }
        // The root of p/q is the root of p q^(n-1), over q.
        let radicand = value.numer() * value.denom().pow(degree - 1);
        let radicand = radicand.to_u64().filter(|n| *n <= MAX_RADICAND)?;
        let (outside, inside) = take_out(radicand, degree);
        let scale = BigRational::new(outside.into(), value.denom().clone());
        Some(match (degree, inside) {
            (_, 1) => Self::constant(scale),
            (2, radical) => Self::term(
                Monomial {
                    radical,
                    ..Monomial::one()
                },
                scale,
            ),
            _ => {
                let root = Self::symbol(&format!("root{degree}({inside})"));
                root.times(&Self::constant(scale))?
            }
        })
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

fn smallest_factor(n: u64) -> Option<u64> {
    if n < 2 {
        return None;
    }
    let mut divisors = (2..).take_while(|d| d * d <= n);
    Some(divisors.find(|d| n.is_multiple_of(*d)).unwrap_or(n))
}

/// `n` as `a^degree * b` with the largest `a`.
fn take_out(n: u64, degree: u32) -> (u64, u64) {
    let (mut outside, mut inside, mut left) = (1, 1, n);
    while let Some(factor) = smallest_factor(left) {
        let mut count = 0;
        while left.is_multiple_of(factor) {
            left /= factor;
            count += 1;
        }
        outside *= factor.pow(count / degree);
        inside *= factor.pow(count % degree);
    }
    (outside, inside)
}

impl fmt::Display for Sum {
    /// Canonical, and read back as the same sum: `2*x^2-1/2`, `3*sqrt(2)`, `0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(value) = self.as_constant() {
            return Gold(value).fmt(f);
        }
        // Powers first, the constant last.
        for (place, (monomial, coefficient)) in self.0.iter().rev().enumerate() {
            let sign = match (place, coefficient.is_negative()) {
                (_, true) => "-",
                (0, false) => "",
                (_, false) => "+",
            };
            let size = coefficient.abs();
            let mut factors = Vec::new();
            if !size.is_one() || *monomial == Monomial::one() {
                factors.push(size.to_string());
            }
            if monomial.radical > 1 {
                factors.push(format!("sqrt({})", monomial.radical));
            }
            for (name, exponent) in &monomial.powers {
                factors.push(match exponent {
                    1 => name.clone(),
                    _ => format!("{name}^{exponent}"),
                });
            }
            write!(f, "{sign}{}", factors.join("*"))?;
        }
        Ok(())
    }
}
