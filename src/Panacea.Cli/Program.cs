using Panacea.Cli;
using Panacea.Cli.Output;
using Panacea.Cli.Services;

return CliApplication.Run(args, CliConsole.Process(), CliServices.Real());
