namespace Panacea.Sessions;

/// <summary>Memory that a crash will need, taken from the system before: a page that is touched for the first time costs half a microsecond or more, and a plan that is thought over for long touches some thousand.</summary>
internal static class WarmMemory
{
    /// <summary>What thinking over a crash takes as a rule, and the size of the pieces: small ones, as all that is allocated then.</summary>
    private const int Bytes = 16 << 20, Piece = 8000;

    /// <summary>Touches it, and leaves it to whoever allocates next: the collector keeps what is free again.</summary>
    public static void Touch()
    {
        for (int touched = 0; touched < Bytes; touched += Piece)
            GC.KeepAlive(new byte[Piece]);
        GC.Collect(0, GCCollectionMode.Forced, blocking: true);
    }
}
