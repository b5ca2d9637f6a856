namespace Panacea.Diagnosis.Validators;

/// <summary>The validators that there are.</summary>
public static class Validators
{
    /// <summary>All of them, those first that the others stand on.</summary>
    public static IReadOnlyList<IValidator> All { get; } =
    [
        new TaskValidator(), new StackValidator(), new RunQueueValidator(), new ModuleValidator(), new GateValidator(), new DescriptorValidator(), new TextValidator(), new LockValidator(), new WorkqueueValidator(),
        new TimerValidator(), new HighResolutionTimerValidator(), new SlabValidator(), new RedZoneValidator(), new PageValidator(), new FileValidator(), new MountValidator(), new OperationsValidator(), new WaitQueueValidator(),
    ];
}
