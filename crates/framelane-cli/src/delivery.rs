//! `--delivery` and `--every`, of every command that receives frames.

use clap::Args;
use framelane::Delivery;

use crate::parse;

/// Which frames a command receives.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct DeliveryArgs {
    /// newest: skip older frames and count them; every: all frames in order [default: newest]
    #[arg(long, value_name = "newest|every", value_parser = parse::named::<Delivery>, conflicts_with = "every")]
    delivery: Option<Delivery>,
    /// Short for --delivery every
    #[arg(long)]
    every: bool,
}

impl DeliveryArgs {
    /// The delivery that was asked for.
    pub fn given(self) -> Option<Delivery> {
        if self.every { Some(Delivery::Every) } else { self.delivery }
    }

    /// The delivery that was asked for, or else the newest frame.
    pub fn delivery(self) -> Delivery {
        self.given().unwrap_or_default()
    }
}

impl From<Delivery> for DeliveryArgs {
    fn from(delivery: Delivery) -> Self {
        DeliveryArgs { delivery: Some(delivery), every: false }
    }
}
