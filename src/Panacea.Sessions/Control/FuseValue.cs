using System.Globalization;
using Panacea.Kernel.Code;

namespace Panacea.Sessions.Control;

/// <summary>What a fuse is to return, as a person writes it: <c>-EIO</c>, <c>-5</c>, <c>0</c>, <c>NULL</c>, <c>true</c>, <c>false</c>, <c>nothing</c>.</summary>
public static class FuseValue
{
    /// <summary>Reads one.</summary>
    /// <param name="text">As written.</param>
    /// <param name="value">The value; null for nothing.</param>
    /// <returns>False where it is none.</returns>
    public static bool TryParse(string text, out int? value)
    {
        value = null;
        switch (text)
        {
            case "nothing":
                return true;
            case "NULL" or "false":
                value = 0;
                return true;
            case "true":
                value = 1;
                return true;
        }

        if (int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number))
        {
            value = number;
            return true;
        }

        if (text.Length < 2 || text[0] != '-')
            return false;
        for (int errno = 1; errno < 600; errno++)
        {
            if (Errnos.Name(errno) != text[1..])
                continue;
            value = -errno;
            return true;
        }

        return false;
    }
}
