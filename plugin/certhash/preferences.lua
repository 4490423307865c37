-- Declares the preferences, and reads the files and hashes that they name.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local folder, stated = others.folder, others.stated

--- Add the preferences to the protocol.
function M.declare(protocol)
    protocol.prefs.cnf_directory = Pref.string("cnf folder", "",
        "Folder with SEP<MAC>.cnf.xml files (plain or signed), copied from flash or from the TFTP server. "
        .. "It is read once, at the first certificate. Tools > certhash > Reload cnf folder reads it again.")
    protocol.prefs.expect = Pref.string("Expected hash", "",
        "A hash that phones expect, without any file: Base64, or hex as in a thumbprint. HASH=https://HOST/PATH is for one "
        .. "head-end, HASH alone for any. Separate several with semicolons.")
    protocol.prefs.learn_from_capture = Pref.bool("Learn cnf files from the capture", true,
        "Use the cnf files that phones download in the capture over TFTP or HTTP, from then on.")
    protocol.prefs.follow_tls = Pref.bool("Find TLS inside RDP, upgraded HTTP and OpenVPN", false,
        "Dissect TLS where Wireshark does not look for it. This changes the dissection of such connections. On a "
        .. "registered port it also needs TCP's preference to try heuristic sub-dissectors first. An audit always does it.")
    protocol.prefs.info_column = Pref.bool("Show the verdict in the Info column", true,
        "Add match, mismatch or rejected to the Info column of packets with certificates.")
end

local function list_folder(path)
    local ok, names = pcall(Dir.open, path)
    if ok and names then
        return names
    end
    return nil, Dir.exists(path) and "this folder cannot be read" or "there is no such folder"
end

--- Return the readers of what the preferences name: the functions at the end.
-- The cnf folder is kept from capture to capture.  It is read when it is first needed, because preferences have their
-- defaults while the script is loaded, and because reading thousands of files takes long.
function M.reading(preferences)
    local kept  -- { path =, files =, problems =, copies = }, or nil

    local function directory()
        local path = preferences.cnf_directory
        if not kept or kept.path ~= path then
            kept = { files = {}, problems = {}, copies = {} }
            if path ~= "" then
                kept = folder.read(path, {
                    list = list_folder,
                    is_folder = function(name) return Dir.exists(name) == true end,
                    open = io.open,
                })
            end
            kept.path = path
            if #kept.problems > 0 then
                report_failure("certhash: " .. kept.problems[1]
                    .. (#kept.problems > 1 and ("\n\nTools > certhash > Certificates in this capture lists %d more.")
                        :format(#kept.problems - 1) or ""))
            end
        end
        return kept
    end

    -- Return the files that count from the first frame on: those of the folder, and the hashes that the user states.
    local function files()
        local list = {}
        for _, file in ipairs(directory().files) do
            list[#list + 1] = file
        end
        local told, problems = stated.read(preferences.expect)
        for _, file in ipairs(told) do
            list[#list + 1] = file
        end
        if #problems > 0 then
            report_failure("certhash: " .. table.concat(problems, "; "))
        end
        return list
    end

    return { directory = directory, files = files, forget = function() kept = nil end }
end

return M
