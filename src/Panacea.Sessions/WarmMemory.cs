namespace Panacea.Sessions;

/// <summary>
/// Memory that a crash will need, taken from the system before: a page that is touched for the first time costs half a microsecond or more, and a plan that is thought over for long touches some thousand. What is allocated
/// meanwhile, by looking after guests, uses it up; it is then made free again.
/// </summary>
internal static class WarmMemory
{
    /// <summary>What thinking over a crash takes as a rule, how much of it may be used up, and the size of the pieces: small ones, as all that is allocated then.</summary>
    private const int Bytes = 16 << 20, MaxUsed = 4 << 20, Piece = 8000;

    private static long _allocated;

    /// <summary>Touches it, and leaves it to whoever allocates next: the collector keeps what is free again.</summary>
    public static void Touch()
    {
        for (int touched = 0; touched < Bytes; touched += Piece)
            GC.KeepAlive(new byte[Piece]);
        GC.Collect(0, GCCollectionMode.Forced, blocking: true);
        Volatile.Write(ref _allocated, GC.GetTotalAllocatedBytes());
    }

    /// <summary>Touches it again where much of it has been used up. Of all sessions in a process one does.</summary>
    public static void Keep()
    {
        long before = Volatile.Read(ref _allocated), now = GC.GetTotalAllocatedBytes();
        if (now - before > MaxUsed && Interlocked.CompareExchange(ref _allocated, now, before) == before)
            Touch();
    }
}
