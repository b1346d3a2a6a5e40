use ratoon_worker::{App, Context, Request, Response, Result, Settings};
struct Hello;
impl App for Hello {
    fn load(_: Settings) -> Result<Self> {
        Ok(Hello)
    }
    fn handle(&mut self, _r: Request, _: &mut Context) -> Result<Response> {
        Ok(Response::new("Hello, world!".into()))
    }
}
fn main() -> std::process::ExitCode {
    ratoon_worker::main::<Hello>()
}
