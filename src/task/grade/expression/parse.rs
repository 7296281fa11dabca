//! The parser of cleaned expressions: it computes the sum as it reads.
//!
//! What has two readings is refused: `1/2x`, `2 3`, words.

use super::super::number::vulgar;
use super::clean::{FRACTION, REPEAT, ROOT, is_product};
use super::sum::Sum;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive, pow};

/// Nesting at most.
const MAX_DEPTH: usize = 24;
/// Digits of a number at most.
const MAX_DIGITS: usize = 100;

/// The sum that the whole of `text` is; none where it is no expression, or one that is too large.
pub(super) fn parse(text: &str) -> Option<Sum> {
    let chars: Vec<char> = text.chars().collect();
    let mut parser = Parser {
        text: &chars,
        at: 0,
        depth: 0,
    };
    let sum = parser.expression()?;
    parser.skip_spaces();
    (parser.at == chars.len()).then_some(sum)
}

struct Parser<'a> {
    text: &'a [char],
    at: usize,
    depth: usize,
}

fn is_symbol(c: char) -> bool {
    c.is_ascii_alphabetic() || ('α'..='ω').contains(&c) || c == '∞'
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(' ') {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expression(&mut self) -> Option<Sum> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut total = self.term()?;
        loop {
            self.skip_spaces();
            total = match self.peek() {
                Some('+') => {
                    self.at += 1;
                    total.plus(self.term()?)?
                }
                Some('-') => {
                    self.at += 1;
                    total.plus(self.term()?.negated())?
                }
                _ => break,
            };
        }
        self.depth -= 1;
        Some(total)
    }

    fn term(&mut self) -> Option<Sum> {
        let mut product = self.factor()?;
        let mut divided = false;
        loop {
            self.skip_spaces();
            match self.peek() {
                Some('*') => {
                    self.at += 1;
                    product = product.times(&self.factor()?)?;
                    divided = false;
                }
                Some('/') => {
                    self.at += 1;
                    product = product.times(&self.factor()?.inverse()?)?;
                    divided = true;
                }
                Some(c) if is_symbol(c) || matches!(c, '(' | '{' | FRACTION | ROOT) => {
                    // `1/2x` is read in two ways.
                    if divided {
                        return None;
                    }
                    product = product.times(&self.factor()?)?;
                }
                _ => return Some(product),
            }
        }
    }

    fn factor(&mut self) -> Option<Sum> {
        self.skip_spaces();
        let mut negative = false;
        while let Some(c @ ('+' | '-')) = self.peek() {
            negative ^= c == '-';
            self.at += 1;
            self.skip_spaces();
        }
        let sum = self.power()?;
        Some(if negative { sum.negated() } else { sum })
    }

    fn power(&mut self) -> Option<Sum> {
        let base = self.atom()?;
        self.skip_spaces();
        if !self.take('^') {
            return Some(base);
        }
        let exponent = self.argument(true)?.as_constant()?;
        self.skip_spaces();
        if self.peek() == Some('^') {
            return None;
        }
        let root = match exponent.denom().to_u32()? {
            1 => base,
            degree => base.root(degree)?,
        };
        root.power(exponent.numer().to_i64()?)
    }

    /// A group, or what stands for one without braces: a number (`whole`), a digit, a symbol.
    fn argument(&mut self, whole: bool) -> Option<Sum> {
        self.skip_spaces();
        match self.peek()? {
            '-' if whole => {
                self.at += 1;
                Some(self.argument(true)?.negated())
            }
            c if c.is_ascii_digit() && !whole => {
                self.at += 1;
                Some(Sum::constant(BigRational::from_integer(
                    c.to_digit(10)?.into(),
                )))
            }
            c if c.is_ascii_digit() => self.number().map(Sum::constant),
            _ => self.atom(),
        }
    }

    fn atom(&mut self) -> Option<Sum> {
        self.skip_spaces();
        let c = self.peek()?;
        if c.is_ascii_digit() || c == '.' {
            let number = self.number()?;
            return self.mixed(number);
        }
        if let Some((above, below)) = vulgar(c) {
            self.at += 1;
            return Some(Sum::constant(BigRational::new(above.into(), below.into())));
        }
        match c {
            '(' | '{' => {
                self.at += 1;
                let inside = self.expression()?;
                self.skip_spaces();
                self.take(if c == '(' { ')' } else { '}' })
                    .then_some(inside)
            }
            FRACTION => {
                self.at += 1;
                let above = self.argument(false)?;
                let below = self.argument(false)?;
                above.times(&below.inverse()?)
            }
            ROOT => {
                self.at += 1;
                self.skip_spaces();
                let degree = match self.take('[') {
                    true => {
                        let degree = self.number()?.to_integer().to_u32()?;
                        self.take(']').then_some(degree)?
                    }
                    false => 2,
                };
                self.argument(true)?.root(degree)
            }
            c if is_symbol(c) => self.symbol(c),
            _ => None,
        }
    }

    /// Digits with an optional part behind the point, whose end may repeat.
    fn number(&mut self) -> Option<BigRational> {
        let mut digits = String::new();
        self.digits(&mut digits);
        let mut places = 0;
        let whole = digits.len();
        let mut value = None;
        if self.peek() == Some('.') {
            self.at += 1;
            self.digits(&mut digits);
            places = digits.len() - whole;
            if self.take(REPEAT) {
                let mut repeated = String::new();
                let braces = self.take('{');
                self.digits(&mut repeated);
                if repeated.is_empty() || (braces && !self.take('}')) {
                    return None;
                }
                let cycle = pow(BigInt::from(10), repeated.len()) - 1;
                let below = cycle * pow(BigInt::from(10), places);
                value = Some(BigRational::new(repeated.parse().ok()?, below));
            } else if places == 0 {
                return None;
            }
        }
        if digits.is_empty() && value.is_none() || digits.len() > MAX_DIGITS {
            return None;
        }
        let read: BigInt = match digits.is_empty() {
            true => BigInt::from(0),
            false => digits.parse().ok()?,
        };
        let read = BigRational::new(read, pow(BigInt::from(10), places));
        Some(value.map_or(read.clone(), |more| read + more))
    }

    fn digits(&mut self, digits: &mut String) {
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
    }

    /// A whole number with a proper fraction behind it is their sum: `1 1/2`, `1\frac{1}{2}`, `1½`.
    fn mixed(&mut self, whole: BigRational) -> Option<Sum> {
        let from = self.at;
        if whole.is_integer()
            && let Some(part) = self.proper_fraction()
        {
            return Some(Sum::constant(whole + part));
        }
        self.at = from;
        self.skip_spaces();
        // Two numbers in a row are nothing.
        let second = self.peek().is_some_and(|c| c.is_ascii_digit() || c == '.');
        (!second).then(|| Sum::constant(whole))
    }

    fn proper_fraction(&mut self) -> Option<BigRational> {
        let spaced = self.peek() == Some(' ');
        self.skip_spaces();
        let c = self.peek()?;
        let value = if let Some((above, below)) = vulgar(c) {
            self.at += 1;
            BigRational::new(above.into(), below.into())
        } else if c == FRACTION {
            self.at += 1;
            let above = self.argument(false)?.as_constant()?;
            let below = self.argument(false)?.as_constant()?;
            (above.is_integer() && below.is_integer() && below > above).then(|| above / below)?
        } else if spaced && c.is_ascii_digit() {
            let above = self.number()?;
            let below = self.take('/').then(|| self.number())??;
            (below > above).then(|| above / below)?
        } else {
            return None;
        };
        let zero = BigRational::from_integer(0.into());
        (value > zero && value < One::one()).then_some(value)
    }

    fn symbol(&mut self, c: char) -> Option<Sum> {
        if c.is_ascii_alphabetic() && !self.behind_letter() {
            let letters = |c: &&char| c.is_ascii_alphabetic();
            let run: String = self.text[self.at..].iter().take_while(letters).collect();
            if run == "root" {
                self.at += run.len();
                let degree = self.number()?.to_integer().to_u32()?;
                return (self.peek() == Some('('))
                    .then(|| self.atom())??
                    .root(degree);
            }
            if !is_product(&run) {
                return None;
            }
        }
        self.at += 1;
        let mut name = String::from(c);
        if self.take('_') {
            let braces = self.take('{');
            let from = self.at;
            while self.peek().is_some_and(|c| c.is_ascii_alphanumeric())
                && (braces || self.at == from)
            {
                self.at += 1;
            }
            if self.at == from {
                return None;
            }
            name.push('_');
            let index: String = self.text[from..self.at].iter().collect();
            match index.len() {
                1 => name.push_str(&index),
                _ => name.extend(["{", &index, "}"]),
            }
            if braces && !self.take('}') {
                return None;
            }
        }
        Some(Sum::symbol(&name))
    }

    fn behind_letter(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        before.is_some_and(char::is_ascii_alphabetic)
    }
}
