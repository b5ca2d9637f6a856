namespace Panacea.Lab.Guests;

/// <summary>What a guest can be told to start (<see cref="GuestSpec.Start"/>): lab/guest/start-NAME.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Package">The Debian package that its program comes from, and that only guests which start it have; null where every guest has the program.</param>
/// <param name="Program">The program in that package.</param>
/// <param name="Port">The TCP port in the guest that it serves and that the host can reach (<see cref="Guest.PortOf"/>); 0 for none.</param>
public sealed record GuestService(string Name, string? Package = null, string? Program = null, int Port = 0)
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<GuestService> All { get; } =
    [
        new("redis", Port: 6379),
        new("counter"),
        new("bank"),
        new("accounts"),
        new("nginx", "nginx", "nginx", 80),
        new("fio", "fio", "fio"),
        new("stress", "stress-ng", "stress-ng"),
        new("echo", "socat", "socat", 7007),
    ];

    /// <summary>The one of a name.</summary>
    /// <exception cref="LabException">There is none.</exception>
    public static GuestService Of(string name) => All.FirstOrDefault(s => s.Name == name) ?? throw new LabException($"guests have no service '{name}'; one of {string.Join(", ", All.Select(s => s.Name))}");
}
